package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ticketed/doorman/aggregate/store"
)

// lockFile is held by the process that uses the data directory. SQLite itself would let a second process
// write, but not know that heads and epochs are held in the first one's memory.
const lockFile = "doorman.lock"

var errLocked = errors.New("locked")

// lockDir takes the data directory for this process.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	err = lock(file)
	if errors.Is(err, errLocked) {
		holder, _ := io.ReadAll(io.LimitReader(file, 20))
		_ = file.Close()
		return nil, fmt.Errorf("%w: data directory %s is in use by another doorman%s; stop it, or give this one another directory",
			store.ErrUnavailable, dir, processOf(string(holder)))
	}
	if err == nil {
		err = file.Truncate(0)
	}
	if err == nil {
		_, err = file.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("%w: lock %s: %w", store.ErrUnavailable, path, err)
	}
	return file, nil
}

func processOf(holder string) string {
	if pid, err := strconv.Atoi(strings.TrimSpace(holder)); err == nil {
		return fmt.Sprintf(" (process %d)", pid)
	}
	return ""
}
