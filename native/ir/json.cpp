#include "ir/json.h"

namespace sparbor {
namespace {

// The text with its infinities, which are no JSON, as strings.
std::string with_quoted_infinities(const std::string& text) {
    constexpr char word[] = "Infinity";
    if (text.find(word) == std::string::npos) return text;
    std::string result;
    bool in_string = false;
    for (size_t i = 0; i < text.size(); i++) {
        if (in_string && text[i] == '\\' && i + 1 < text.size()) {
            result += text[i++];
        } else if (text[i] == '"') {
            in_string = !in_string;
        } else if (const size_t sign = text[i] == '-'; !in_string && text.compare(i + sign, 8, word) == 0) {
            result += sign ? "\"-Infinity\"" : "\"Infinity\"";
            i += 7 + sign;
            continue;
        }
        result += text[i];
    }
    return result;
}

// Nesting costs far more memory than text, and no model file is nested so deep.
bool refuse_depth(int depth, Json::parse_event_t, Json&) {
    constexpr int deepest = 16;
    if (depth > deepest) throw Refused("JSON is nested more than 16 deep");
    return true;
}

}  // namespace

Json parse_object(const std::string& text, const std::string& what) {
    Json parsed;
    try {
        parsed = Json::parse(with_quoted_infinities(text), refuse_depth);
    } catch (const Json::parse_error& error) {
        throw Refused(what + " is not JSON, from its byte " + std::to_string(error.byte) + " on");
    } catch (const Json::out_of_range&) {
        throw Refused(what + " holds a number that is too large");
    }
    require(parsed.is_object(), what + " is not a JSON object");
    return parsed;
}

const Json* member(const Json& object, const std::string& name) {
    const auto found = object.find(name);
    return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string shown(const Json& value) {
    constexpr size_t most = 80;
    const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);  // ASCII, in one line
    return text.size() <= most ? text : text.substr(0, most) + "...";
}

std::string shown(const Json* value) { return value ? shown(*value) : "null"; }

}  // namespace sparbor
