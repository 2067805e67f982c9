#include "python/wiring.h"

#include <vector>

namespace sparbor {
namespace {

// What a neuron's synapse at each place of its row reads: a channel of its group, and where in the planes.
struct Tap {
    uint32_t channel, input, slope;
};

std::vector<Tap> taps_of(const Wiring& layer) {
    std::vector<Tap> taps;
    taps.reserve(layer.fan_in * layer.kernel_h * layer.kernel_w);
    for (uint32_t channel = 0; channel < layer.fan_in; channel++)
        for (uint32_t row = 0; row < layer.kernel_h; row++)
            for (uint32_t column = 0; column < layer.kernel_w; column++) {
                const uint32_t y = row * layer.dilation_h, x = column * layer.dilation_w;
                const uint32_t from_last_y = (layer.kernel_h - 1) * layer.dilation_h - y;
                const uint32_t from_last_x = (layer.kernel_w - 1) * layer.dilation_w - x;
                taps.push_back({channel,
                                channel * layer.inputs.channel + y * layer.inputs.line + x * layer.inputs.pixel,
                                from_last_y * layer.slopes.line + from_last_x * layer.slopes.pixel});
            }
    return taps;
}

// Of each row's parts, how many synapses they have; from these, where each begins, and where the row ends.
class Counts {
public:
    Counts(const RowLists& lists, size_t columns)
        : lists_(lists), columns_(columns), counts_(lists.rows * lists.parts) {}

    void add(size_t row, size_t column) { counts_[row * lists_.parts + column * lists_.parts / columns_]++; }

    void to_bounds() const {
        uint32_t begin = 0;
        for (size_t row = 0; row < lists_.rows; row++) {
            for (size_t part = 0; part < lists_.parts; part++) {
                lists_.bounds[part * lists_.rows + row] = begin;
                begin += counts_[row * lists_.parts + part];
            }
            lists_.bounds[lists_.parts * lists_.rows + row] = begin;
        }
    }

private:
    const RowLists& lists_;
    size_t columns_;
    std::vector<uint32_t> counts_;
};

}  // namespace

void list_synapses(const int64_t* positions, size_t count, const Wiring& layer, const RowLists& by_output,
                   const RowLists& by_channel, uint32_t* order) {
    const std::vector<Tap> taps = taps_of(layer);
    const size_t outputs_of_group = layer.outputs / layer.groups;
    // Calls each(number, output, first channel of its group, tap) for every synapse, in order.
    const auto for_each = [&](const auto& each) {
        size_t output = 0;
        int64_t row = 0;
        for (size_t number = 0; number < count; number++) {
            while (positions[number] >= row + static_cast<int64_t>(taps.size())) row += taps.size(), output++;
            each(number, output, output / outputs_of_group * layer.fan_in, taps[positions[number] - row]);
        }
    };

    Counts of_outputs(by_output, layer.fan_in), of_channels(by_channel, layer.outputs);
    for_each([&](size_t number, size_t output, size_t first_channel, const Tap& tap) {
        by_output.inputs[number] = first_channel * layer.inputs.channel + tap.input;
        of_outputs.add(output, tap.channel);
        of_channels.add(first_channel + tap.channel, output);
    });
    of_outputs.to_bounds();
    of_channels.to_bounds();

    std::vector<uint32_t> next(by_channel.bounds, by_channel.bounds + by_channel.rows);
    for_each([&](size_t number, size_t output, size_t first_channel, const Tap& tap) {
        const uint32_t place = next[first_channel + tap.channel]++;
        by_channel.inputs[place] = output * layer.slopes.channel + tap.slope;
        order[place] = number;
    });
}

}  // namespace sparbor
