// What an operation of a program says beside its values, its layer and its activation.
#pragma once

#include <array>
#include <map>
#include <vector>

#include "ir/json_type.h"

namespace sparbor {

// A setting that operations of a kind have: its name and what it is.
struct SettingRule {
    // Sides are four whole numbers, a list has up to nine, a number is from 0 to 1e30.
    enum class Type { whole, pair, sides, list, number, flag };
    const char* name;
    Type type;
};

std::string to_text(SettingRule::Type type);

// The settings of one operation, which has all of its kind and no others.
class Settings {
public:
    // `operation` is what errors call it. Throws Refused.
    Settings(const std::vector<SettingRule>& rules, const Json* entry, const std::string& operation);
    Settings() = default;

    int64_t whole(const char* name) const { return wholes_.at(name)[0]; }
    std::array<int64_t, 2> pair(const char* name) const { return several<2>(name); }
    std::array<int64_t, 4> sides(const char* name) const { return several<4>(name); }
    const std::vector<int64_t>& list(const char* name) const { return wholes_.at(name); }
    float number(const char* name) const { return numbers_.at(name); }
    bool flag(const char* name) const { return wholes_.at(name)[0] != 0; }

private:
    void read(const SettingRule& rule, const Json& value, const std::string& operation);

    template <size_t length>
    std::array<int64_t, length> several(const char* name) const {
        std::array<int64_t, length> numbers;
        const std::vector<int64_t>& stored = wholes_.at(name);
        for (size_t i = 0; i < length; i++) numbers[i] = stored.at(i);
        return numbers;
    }

    std::map<std::string, std::vector<int64_t>> wholes_;
    std::map<std::string, float> numbers_;
};

}  // namespace sparbor
