#include "ir/settings.h"

#include <algorithm>

#include "ir/json.h"
#include "ir/number.h"

namespace sparbor {
namespace {

using Type = SettingRule::Type;

bool is_whole(const Json& value) {
    constexpr auto most = static_cast<uint64_t>(INT64_MAX);
    return value.is_number_integer() && (!value.is_number_unsigned() || value.get<uint64_t>() <= most);
}

bool are_whole(const Json& value, size_t count) {
    return value.is_array() && value.size() == count && std::all_of(value.begin(), value.end(), is_whole);
}

bool is_of(Type type, const Json& value) {
    switch (type) {
        case Type::whole: return is_whole(value);
        case Type::pair: return are_whole(value, 2);
        case Type::sides: return are_whole(value, 4);
        case Type::list: return value.is_array() && value.size() <= 9 && are_whole(value, value.size());
        case Type::number: return value.is_number() && value.get<double>() >= 0 && value.get<double>() <= 1e30;
        case Type::flag: return value.is_boolean();
    }
    throw std::logic_error("a setting's type is none of those that there are");
}

}  // namespace

std::string to_text(Type type) {
    switch (type) {
        case Type::whole: return "a whole number";
        case Type::pair: return "two whole numbers";
        case Type::sides: return "four whole numbers";
        case Type::list: return "up to nine whole numbers";
        case Type::number: return "a number from 0 to 1e30";
        case Type::flag: return "true or false";
    }
    throw std::logic_error("a setting's type is none of those that there are");
}

Settings::Settings(const std::vector<SettingRule>& rules, const Json* entry, const std::string& operation) {
    if (rules.empty()) {
        require(!entry, operation + " has the settings " + shown(entry) + ", and can have none");
        return;
    }
    std::string names;
    bool all = entry && entry->is_object() && entry->size() == rules.size();
    for (const SettingRule& rule : rules) {
        names += (names.empty() ? "" : ", ") + std::string(rule.name);
        all = all && entry->contains(rule.name);
    }
    require(all, operation + " has the settings " + shown(entry) + ", not " + names);
    for (const SettingRule& rule : rules) read(rule, entry->at(rule.name), operation);
}

void Settings::read(const SettingRule& rule, const Json& value, const std::string& operation) {
    require(is_of(rule.type, value),
            operation + ": " + rule.name + " is " + shown(value) + ", not " + to_text(rule.type));
    if (rule.type == Type::number) numbers_[rule.name] = as_float(value.get<double>());
    else if (value.is_array()) wholes_[rule.name] = value.get<std::vector<int64_t>>();
    else wholes_[rule.name] = {value.is_boolean() ? value.get<bool>() : value.get<int64_t>()};
}

}  // namespace sparbor
