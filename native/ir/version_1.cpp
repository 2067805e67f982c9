// Model files of version 1: rows may have any number of dimensions there, and have one today, so that an item has two at
// the most. Its linear layers, softmaxes and batch norms went over the last of any number.
#include "ir/operator.h"

namespace sparbor {
namespace {

Json flat(const Json& shape) {
    Shape rows = shape.get<Shape>();
    const uint64_t last = rows.back();
    rows.pop_back();
    return Json::array({numbers_of(rows), last});
}

bool goes_over_rows(const Json& kind) { return kind == "linear" || kind == "affine" || kind == "softmax"; }

Json reshape(const Json& from, const Json& to) {
    return {{"kind", "reshape"}, {"inputs", Json::array({from})}, {"output", to}};
}

}  // namespace

Json from_version_1(Json graph) {
    Json operations = Json::array();
    for (Json& operation : graph["operations"]) {
        const Json input = operation["inputs"][0], output = operation["output"];
        const Json x = graph["values"][as_count(input)], y = graph["values"][as_count(output)];
        if (!goes_over_rows(operation["kind"]) || x.size() <= 2 || x.size() != y.size()) {
            operations.push_back(operation);
            continue;
        }
        const size_t flat_x = graph["values"].size(), flat_y = flat_x + 1;
        graph["values"].push_back(flat(x));
        graph["values"].push_back(flat(y));
        operation["inputs"] = Json::array({flat_x});
        operation["output"] = flat_y;
        operations.push_back(reshape(input, flat_x));
        operations.push_back(operation);
        operations.push_back(reshape(flat_y, output));
    }
    graph["operations"] = operations;
    graph["version"] = 2;
    return graph;
}

}  // namespace sparbor
