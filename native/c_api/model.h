// What the C functions have behind their pointers.
#pragma once

#if defined(_WIN32)
#define SPARBOR_API __declspec(dllexport)
#endif
#include "c_api/sparbor.h"
#include "plan/session.h"

struct sparbor_model {
    sparbor::Program program;
    const sparbor::KernelSet* kernels;
    std::unique_ptr<sparbor::Engine> engine;  // points into the program
};

struct sparbor_session {
    explicit sparbor_session(sparbor::Engine& engine) : session(engine) {}

    sparbor::Session session;
};

namespace sparbor {

// Cut to the room that there is.
void tell(const char* text, char* error, size_t size);

}  // namespace sparbor
