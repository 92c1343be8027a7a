//go:build unix

package sse

import (
	"errors"
	"fmt"
	"syscall"
)

// tryWrite writes as much as goes at once.
func tryWrite(raw syscall.RawConn, b []byte) (n int, err error) {
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		for n < len(b) {
			wrote, err := syscall.Write(int(fd), b[n:]) //nolint:gosec // a descriptor is a small number
			switch {
			case wrote > 0:
				n += wrote
			case errors.Is(err, syscall.EINTR):
			default:
				if !errors.Is(err, syscall.EAGAIN) {
					failed = err
				}
				return true
			}
		}
		return true
	})
	if err = errors.Join(err, failed); err != nil {
		return n, fmt.Errorf("write to the reader: %w", err)
	}
	return n, nil
}
