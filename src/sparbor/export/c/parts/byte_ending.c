/*
 * How results become bytes. They are whole numbers, 2^shift of which are one step; without an activation nothing else
 * but whole numbers is needed. An activation maps floats, of which `step` is one step.
 */
struct byte_ending {
    uint32_t shift;
    int32_t zero, low, high;
    float step, scale; /* scale is step / 2^shift */
    void (*map)(float *, size_t);
};
