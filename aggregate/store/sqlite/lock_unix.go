//go:build unix

package sqlite

import (
	"errors"
	"os"
	"syscall"
)

// lock belongs to the open file: it ends with it, also when the process is killed.
func lock(file *os.File) error {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	return err
}
