#include "ir/refused.h"

namespace sparbor {
namespace {

constexpr size_t longest_fault = 200, longest_name = 60;

// At most so many bytes, without a part of a character of several bytes at the end.
std::string cut(const std::string& text, size_t most) {
    if (text.size() <= most) return text;
    while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0) == 0x80) most--;
    return text.substr(0, most) + "...";
}

}  // namespace

Refused::Refused(const std::string& fault, const std::string& remedy)
    : Refused(cut(fault, longest_fault), remedy, nullptr) {}

Refused::Refused(std::string short_fault, std::string remedy, std::nullptr_t)
    : std::runtime_error(short_fault + "; " + remedy), fault_(std::move(short_fault)), remedy_(std::move(remedy)) {}

std::string in_quotes(const std::string& text) {
    std::string shown;
    for (const char each : cut(text, longest_name)) {
        if (static_cast<unsigned char>(each) >= 0x20 && each != 0x7F) shown += each;
        else shown += '?';
    }
    return "'" + shown + "'";
}

std::string with_commas(uint64_t number) {
    const std::string digits = std::to_string(number);
    std::string grouped;
    for (size_t i = 0; i < digits.size(); i++) {
        if (i > 0 && (digits.size() - i) % 3 == 0) grouped += ',';
        grouped += digits[i];
    }
    return grouped;
}

}  // namespace sparbor
