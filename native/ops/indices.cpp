#include "ops/indices.h"

namespace sparbor {

void Indices::check(const Call& call) const {
    const auto size = static_cast<int64_t>(rule_.size), least = rule_.from_the_end ? -size : 0;
    for (size_t i = 0; i < loops_.count(); i++) {
        const size_t begin = loops_.run(i)[0];
        for (size_t k = 0; k < loops_.length(); k++)
            if (const int64_t index = read(call.memory(), begin + k * loops_.steps()[0]); index < least || index >= size)
                refuse(index, i * loops_.length() + k, call.first_item);
    }
}

// `number` is its place among all of them, in order. What all items share was looked at with the first of them.
void Indices::refuse(int64_t index, size_t number, size_t first_item) const {
    Shape place(value_.shape.size());
    for (size_t i = place.size(); i-- > 0; number /= value_.shape[i]) place[i] = number % value_.shape[i];
    if (!place.empty()) place[0] += first_item;
    const std::string least = rule_.from_the_end ? "-" + std::to_string(rule_.size) : "0";
    const std::string most = std::to_string(rule_.size - 1);
    throw Refused(rule_.what + " " + std::to_string(index) + " at " + to_text(place) + " is not " + rule_.chosen + ", " +
                      least + " to " + most,
                  rule_.remedy.empty() ? "pass numbers from " + least + " to " + most : rule_.remedy);
}

}  // namespace sparbor
