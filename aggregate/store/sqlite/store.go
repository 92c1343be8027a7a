package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// Store is a store in one file. It implements store.Store.
type Store struct {
	config   Config
	path     string
	identity store.Identity
	dirLock  *os.File

	view        *view
	readers     *readers
	checkpoints *checkpoints

	closing sync.Mutex // held by Close

	// writing is held by whoever writes: what follows belongs to him.
	writing  sync.Mutex
	closed   bool
	writer   *writer
	staging  staging
	settling settling
	lot      *lot
	refused  refused
}

var _ store.Store = (*Store)(nil)

// Open opens the store in the data directory, and makes it when there is none and config.Migrate says so. It
// fails with store.ErrSchema when the file does not fit this program, and with store.ErrUnavailable when
// another process uses the directory.
func Open(ctx context.Context, config Config) (*Store, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	s := &Store{config: config.withDefaults(), path: filepath.Join(config.Dir, file), view: newView()}
	s.staging.byName = map[commands.Stream]int{}
	s.settling.every = s.config.settleEvery
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.release())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	if err := os.MkdirAll(s.config.Dir, 0o700); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	var err error
	if s.dirLock, err = lockDir(s.config.Dir); err != nil {
		return err
	}
	if err := fit(ctx, s.path, s.config.Migrate); err != nil {
		return err
	}
	if s.writer, err = openWriter(s.path, s.pragmas(s.config.CacheBytes)); err != nil {
		return failed("open", err)
	}
	if s.checkpoints, err = openCheckpoints(s); err != nil {
		return failed("open", err)
	}
	if err := s.load(); err != nil {
		return failed("open", err)
	}
	if s.readers, err = openReaders(s.path, s.pragmas(readerCacheBytes), s.config.Readers); err != nil {
		return failed("open", err)
	}
	if err := s.replay(); err != nil {
		return failed("read the end of the log", err)
	}
	return nil
}

// pragmas are those of every connection. The log is moved into the file by checkpoints, in the background.
func (s *Store) pragmas(cacheBytes int) []string {
	return []string{
		"busy_timeout = 5000",
		"synchronous = FULL",
		"wal_autocheckpoint = 0",
		"cache_size = -" + strconv.Itoa(cacheBytes>>10),
	}
}

// ready tells whether the store is open. The caller holds writing.
func (s *Store) ready() error {
	if s.closed {
		return errClosed
	}
	return nil
}

// Identity tells the epoch of the log and the number of lanes it was made with.
func (s *Store) Identity() store.Identity { return s.identity }

// Ping tells whether the store answers, within the context's time.
func (s *Store) Ping(ctx context.Context) error {
	return s.readers.read(ctx, "ping", func(r *reader) error {
		_, err := r.endOfLog.Step()
		r.endOfLog.Reset()
		return err
	})
}

// Close brings all rows up to date, so that the next opening reads nothing again, and gives back what the
// store holds. It waits for reads and for a commit under way. It is safe to call twice.
func (s *Store) Close() error {
	s.closing.Lock()
	defer s.closing.Unlock()
	s.writing.Lock()
	if s.closed {
		s.writing.Unlock()
		return nil
	}
	s.closed = true
	err := s.settleAll()
	s.view.close()
	s.writing.Unlock()
	return errors.Join(err, s.release())
}

// release gives back what the store holds, as far as it was opened.
func (s *Store) release() error {
	var errs []error
	if s.checkpoints != nil {
		s.checkpoints.halt()
	}
	if s.readers != nil {
		errs = append(errs, s.readers.close())
	}
	if s.checkpoints != nil {
		errs = append(errs, s.checkpoints.close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	if s.dirLock != nil {
		errs = append(errs, s.dirLock.Close())
	}
	return failed("close", errors.Join(errs...))
}
