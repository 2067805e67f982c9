#include "ir/dimension.h"

#include <algorithm>

#include "ir/json.h"

namespace sparbor {
namespace {

constexpr size_t most_tokens = 128, longest_name = 60;

bool is_name(const std::string& text) {
    const auto letter = [](char each) {
        return (each >= 'a' && each <= 'z') || (each >= 'A' && each <= 'Z') || each == '_';
    };
    const auto sound = [&](char each) { return letter(each) || (each >= '0' && each <= '9'); };
    return !text.empty() && text.size() <= longest_name && letter(text[0]) &&
           std::all_of(text.begin(), text.end(), sound);
}

std::string is_none(const Json& entry) { return "the dimension " + shown(entry) + " is none that a value can have"; }

}  // namespace

Dimension::Dimension(const Json& entry, SizeNames& names, bool names_new) {
    require(!names_new || !entry.is_array(), is_none(entry));
    read(entry, names, names_new);
}

void Dimension::read(const Json& entry, SizeNames& names, bool names_new) {
    require(tokens_.size() < most_tokens, "a dimension has more than " + std::to_string(most_tokens) + " parts");
    if (is_count(entry)) {
        require(as_count(entry) >= 1 && as_count(entry) <= largest_dimension, is_none(entry));
        tokens_.push_back({Token::number, as_count(entry)});
        return;
    }
    if (entry.is_string()) {
        const auto name = entry.get<std::string>();
        auto found = std::find(names.begin(), names.end(), name);
        if (found == names.end() && names_new) {
            require(is_name(name) && names.size() < most_sizes, is_none(entry));
            found = names.insert(found, name);
        }
        require(found != names.end(), "the size " + in_quotes(name) + " is a dimension of no input");
        tokens_.push_back({Token::size, static_cast<uint64_t>(found - names.begin())});
        return;
    }
    require(entry.is_array() && entry.size() == 3, is_none(entry));
    const Json& operation = entry[0];
    constexpr std::pair<const char*, Token::Kind> kinds[] = {
        {"+", Token::plus}, {"-", Token::minus}, {"*", Token::times}, {"//", Token::over}};
    const auto found = std::find_if(std::begin(kinds), std::end(kinds),
                                    [&](const auto& each) { return operation == each.first; });
    require_known(found != std::end(kinds), "dimension that is computed by " + shown(operation));
    read(entry[1], names, false);
    read(entry[2], names, false);
    tokens_.push_back({found->second, 0});
}

const char* Dimension::between(Token::Kind kind) {
    switch (kind) {
        case Token::plus: return " + ";
        case Token::minus: return " - ";
        case Token::times: return " * ";
        case Token::over: return " // ";
        case Token::number:
        case Token::size: return "";
    }
    return "";  // there is no other, which the compiler does not know
}

uint64_t Dimension::at(const Sizes& sizes) const {
    if (is_number()) return tokens_[0].value;
    uint64_t stack[most_tokens + 1];  // all that are operands, at most
    size_t depth = 0;
    for (const Token& token : tokens_) {
        switch (token.kind) {
            case Token::number: stack[depth++] = token.value; continue;
            case Token::size:
                stack[depth++] = sizes[token.value];
                if (stack[depth - 1] > largest_dimension)
                    throw Refused("a dimension is beyond " + with_commas(largest_dimension));
                continue;
            case Token::plus: stack[depth - 2] += stack[depth - 1]; break;
            case Token::minus:
                if (stack[depth - 2] < stack[depth - 1]) throw Refused("a dimension is less than 0");
                stack[depth - 2] -= stack[depth - 1];
                break;
            case Token::times: {
                const auto result = product({stack[depth - 2], stack[depth - 1]}, largest_dimension);
                stack[depth - 2] = result.value_or(largest_dimension + 1);
                break;
            }
            case Token::over: stack[depth - 2] /= std::max<uint64_t>(1, stack[depth - 1]); break;
        }
        depth--;
        if (stack[depth - 1] > largest_dimension)
            throw Refused("a dimension is beyond " + with_commas(largest_dimension));
    }
    if (stack[0] < 1) throw Refused("a dimension is 0");
    return stack[0];
}

int64_t Dimension::named() const {
    return tokens_.size() == 1 && tokens_[0].kind == Token::size ? static_cast<int64_t>(tokens_[0].value) : -1;
}

bool Dimension::has(size_t size) const {
    return std::any_of(tokens_.begin(), tokens_.end(),
                       [&](const Token& token) { return token.kind == Token::size && token.value == size; });
}

std::string Dimension::text(const SizeNames& names) const {
    std::vector<std::string> stack;
    for (const Token& token : tokens_) {
        if (token.kind == Token::number || token.kind == Token::size) {
            stack.push_back(token.kind == Token::number ? std::to_string(token.value) : names[token.value]);
            continue;
        }
        const std::string right = std::move(stack.back());
        stack.pop_back();
        stack.back() = "(" + stack.back() + between(token.kind) + right + ")";
    }
    return stack[0];
}

}  // namespace sparbor
