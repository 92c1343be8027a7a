package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
)

// damagedMark is between the name of the file and the time at which it was put aside.
const damagedMark = ".damaged-"

// endings are those of the files that SQLite keeps beside its own, and its own. That goes last: as long as it is
// there the next try finds the damage again.
var endings = []string{"-wal", "-shm", ""}

// openWhole opens the file, or an empty one in its place when it is damaged.
func (p *Projections) openWhole(ctx context.Context) error {
	err := p.open(ctx)
	if !errors.Is(err, ErrDamaged) {
		return err
	}
	if err := p.putAside(err); err != nil {
		return err
	}
	return p.open(ctx)
}

// replace puts the damaged file aside and opens an empty one, unless that has been done since the era in
// which the damage was met. It waits for the transactions under way.
func (p *Projections) replace(ctx context.Context, era int, cause error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.era != era {
		return nil
	}
	if p.writing != nil {
		_ = p.shut() // that it cannot be closed in order is part of the damage
		if err := p.putAside(cause); err != nil {
			return err
		}
	}
	if err := p.openWhole(ctx); err != nil {
		return fmt.Errorf("open projections anew: %w", err)
	}
	p.era++
	return nil
}

// putAside moves the file, which is not open, and those beside it out of the way, and deletes those that were
// put aside before.
func (p *Projections) putAside(cause error) error {
	p.forget()
	aside := p.path + damagedMark + time.Now().UTC().Format("20060102T150405Z")
	for _, ending := range endings {
		if err := os.Rename(p.path+ending, aside+ending); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("put the damaged %s aside: %w: %w", p.path, store.ErrUnavailable, err)
		}
	}
	p.log.Warn("the file of the projections is damaged: it was put aside, and they are made anew from the log",
		"path", p.path, "put_aside", aside, "err", cause)
	return nil
}

// forget deletes what was put aside before. What cannot be deleted stays, and does no harm.
func (p *Projections) forget() {
	dir, name := filepath.Split(p.path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		p.log.Warn("cannot look for damaged files put aside before", "path", dir, "err", err)
		return
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), name+damagedMark) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil {
			p.log.Warn("cannot delete a damaged file put aside before", "path", filepath.Join(dir, entry.Name()), "err", err)
		}
	}
}
