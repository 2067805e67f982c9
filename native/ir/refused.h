// What is said of a model file, or of a program, that cannot run.
#pragma once

#include <stdexcept>
#include <string>

namespace sparbor {

constexpr unsigned newest_version = 3;  // of the format

// Says what is wrong and what to do about it, in one line of at most longest_fault and the remedy's bytes.
class Refused : public std::runtime_error {
public:
    static constexpr const char* damaged = "the file is damaged or was not written by Sparbor";
    static constexpr const char* later = "the file is damaged, or a later Sparbor wrote it: upgrade sparbor";

    explicit Refused(const std::string& fault, const std::string& remedy = damaged);
    const std::string& fault() const { return fault_; }
    const std::string& remedy() const { return remedy_; }

private:
    Refused(std::string short_fault, std::string remedy, std::nullptr_t);
    std::string fault_, remedy_;
};

inline void require(bool holds, const std::string& fault) {
    if (!holds) throw Refused(fault);
}

// The same of something that a later version of the format may have.
inline void require_known(bool holds, const std::string& what) {
    if (!holds)
        throw Refused("version " + std::to_string(newest_version) + " of the format has no " + what, Refused::later);
}

// A name or a text of a file in quotation marks, cut if it is long, and without what would begin another line.
std::string in_quotes(const std::string& text);

// 12345 as "12,345".
std::string with_commas(uint64_t number);

}  // namespace sparbor
