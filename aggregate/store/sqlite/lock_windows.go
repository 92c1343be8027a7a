package sqlite

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lock belongs to the open file: it ends with it, also when the process is killed. It covers a byte far
// behind the text, which others may read.
func lock(file *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(file.Fd()), flags, 0, 1, 0, &windows.Overlapped{Offset: 1 << 20})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errLocked
	}
	return err
}
