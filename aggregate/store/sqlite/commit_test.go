package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/sqlite"
	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
	"github.com/ticketed/doorman/commands"
)

func newStore(t *testing.T, c sqlite.Config) (*sqlite.Store, *hand) {
	t.Helper()
	s := open(t, c)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	h, err := newHand(s)
	require.NoError(t, err)
	return s, h
}

func TestAFullDiskIsUnavailableAndNothingOfTheBatchStays(t *testing.T) {
	t.Parallel()
	s, h := newStore(t, config(t.TempDir()))
	_, err := h.land([]byte(`{}`), 1)
	require.NoError(t, err)
	require.NoError(t, s.LimitPages(60))
	_, err = h.land(bytes.Repeat([]byte("x"), 1<<20), 1, 2)
	require.ErrorIs(t, err, store.ErrUnavailable)
	require.NotErrorIs(t, err, store.ErrFateUnknown)
	require.NoError(t, sound(s, 3))
	require.NoError(t, s.LimitPages(1<<30))
	covered, err := h.land([]byte(`{}`), 1, 2)
	require.NoError(t, err)
	require.Equal(t, store.Range{First: 2, Last: 3}, covered)
	require.NoError(t, sound(s, 3))
}

func TestACommitWhoseContextIsOverIsUnavailable(t *testing.T) {
	t.Parallel()
	s, h := newStore(t, config(t.TempDir()))
	batch, err := h.batch([]byte(`{}`), 1)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = s.Commit(ctx, batch)
	require.ErrorIs(t, err, store.ErrUnavailable)
	_, err = s.Commit(context.Background(), batch)
	require.NoError(t, err, "it was not stored, and can be")
}

func TestABatchThatDoesNotFollowItsStreamsIsRefused(t *testing.T) {
	t.Parallel()
	s, h := newStore(t, config(t.TempDir()))
	_, err := h.land([]byte(`{}`), 1)
	require.NoError(t, err)
	for name, spoil := range map[string]func(*store.Batch){
		"a hole in the versions":    func(b *store.Batch) { b.Outcomes[0].Version++ },
		"a head above its landings": func(b *store.Batch) { b.Heads[0].Head.Version++ },
		"a head of another action":  func(b *store.Batch) { b.Heads[0].Head.Action = commands.NewID() },
		"a landing without a head":  func(b *store.Batch) { b.Heads = nil },
		"a state above the head":    func(b *store.Batch) { b.Heads[0].StateVersion++ },
		"no handle":                 func(b *store.Batch) { b.Heads[0].Handle = nil },
		"another stream's handle":   func(b *store.Batch) { b.Heads[0].Stream = commands.Stream{Type: "a", ID: "b"} },
		"another backend's handle":  func(b *store.Batch) { b.Heads[0].Handle = &store.Handle{Value: 7} },
	} {
		clear(h.records)
		batch, err := h.batch([]byte(`{}`), 1)
		require.NoError(t, err, name)
		spoil(batch)
		_, err = s.Commit(context.Background(), batch)
		require.ErrorIs(t, err, store.ErrFenced, "no command is to blame for %s", name)
		require.NoError(t, sound(s, 2), name)
	}
}

func TestAHandleLoadedBeforeALaneWasAcquiredIsStale(t *testing.T) {
	t.Parallel()
	s, h := newStore(t, config(t.TempDir()).SettlingEvery(1))
	_, err := h.land([]byte(`{}`), 1)
	require.NoError(t, err)
	again, err := newHand(s)
	require.NoError(t, err)
	_, err = again.land([]byte(`{}`), 1)
	require.NoError(t, err)
	h.claims = again.claims
	_, err = h.land([]byte(`{}`), 1)
	require.ErrorIs(t, err, store.ErrFenced)
	require.NoError(t, sound(s, 2))
}

// The log of SQLite must not grow for ever under commits that never pause, nor while reads go on: many of a megabyte, or
// some as large as there are.
func TestTheWriteAheadLogStaysShort(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]struct{ commits, size int }{
		"commits of a megabyte": {150, 200 << 10},
		"commits of 30 MiB":     {6, 6 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			staysShort(t, of.commits, of.size)
		})
	}
}

// staysShort commits five landings with so many bytes each, so many times.
func staysShort(t *testing.T, commits, size int) {
	t.Helper()
	dir := t.TempDir()
	s, h := newStore(t, config(dir))
	stop := make(chan struct{})
	var reading sync.WaitGroup
	for range 4 {
		conn, err := engine.Open(filepath.Join(dir, "doorman.db"), engine.Options{})
		require.NoError(t, err)
		reading.Go(func() { assert.NoError(t, errors.Join(readOnAndOn(conn, stop), conn.Close())) })
	}
	data := bytes.Repeat([]byte("x"), size)
	for range commits {
		_, err := h.land(data, 1, 2, 3, 4, 5)
		require.NoError(t, err)
	}
	close(stop)
	reading.Wait()
	log, err := os.Stat(filepath.Join(dir, "doorman.db-wal"))
	require.NoError(t, err)
	require.Less(t, log.Size(), int64(128<<20), "%d MB were written", 5*commits*size>>20)
	require.NoError(t, sound(s, 6))
}

// readOnAndOn has one read after another, each longer than a checkpoint in the background waits for it.
func readOnAndOn(conn *engine.Conn, stop <-chan struct{}) error {
	for {
		if err := conn.Exec("begin"); err != nil {
			return err
		}
		if _, err := conn.Int("select count(*) from sqlite_master"); err != nil {
			return err
		}
		over := false
		select {
		case <-stop:
			over = true
		case <-time.After(150 * time.Millisecond):
		}
		if err := conn.Exec("commit"); err != nil || over {
			return err
		}
	}
}

// After a crash no more than one and a half sweeps' worth of outcomes, and a batch, are read again.
func TestWhatIsReadAgainAfterACrashIsBounded(t *testing.T) {
	t.Parallel()
	const every = 100
	s, h := newStore(t, config(t.TempDir()).SettlingEvery(every))
	for n := range 400 {
		covered, err := h.land([]byte(`{}`), n%30, 30+n%7, 40+n)
		require.NoError(t, err)
		require.LessOrEqual(t, covered.Last-s.Settled(), uint64(every*3/2+2*3))
		require.LessOrEqual(t, s.Unsettled(), every*3/2+2*3)
	}
	require.NotZero(t, s.Settled())
	require.NoError(t, sound(s, 440))
}

// Large outcomes count as many: it is their size that takes time to read.
func TestOfLargeOutcomesFewerAreReadAgain(t *testing.T) {
	t.Parallel()
	const every, units = 100, 11
	dir := t.TempDir()
	s, h := newStore(t, config(dir).SettlingEvery(every))
	data := []byte(`"` + strings.Repeat("x", 40<<10) + `"`)
	for n := range 100 {
		covered, err := h.land(data, n%30)
		require.NoError(t, err)
		require.LessOrEqual(t, covered.Last-s.Settled(), uint64(every*3/2/units+2))
		if n%7 == 0 { // what a crash leaves counts as well
			again, err := newHand(open(t, config(copied(t, dir)).SettlingEvery(every)))
			require.NoError(t, err)
			covered, err = again.land(data, 1)
			require.NoError(t, err)
			require.LessOrEqual(t, covered.Last-again.store.Settled(), uint64(every*3/2/units+3))
			require.NoError(t, again.store.Close())
		}
	}
	require.NoError(t, sound(s, 30))
}

// DESIGN section 5, promise 12: what is held until a sweep is bounded by its size too, not by the number of streams
// alone.
func TestLargeStatesAreNotHeldUntilASweep(t *testing.T) {
	t.Parallel()
	s, h := newStore(t, config(t.TempDir()))
	large := bytes.Repeat([]byte("x"), 100<<10)
	for n := range 200 {
		batch, err := h.batch([]byte(`{}`), n, 200+n%5)
		require.NoError(t, err)
		batch.Heads[0].State = large
		_, err = s.Commit(context.Background(), batch)
		require.NoError(t, err)
	}
	require.Less(t, s.HeldStates(), 10<<10)
	found, known, err := s.Head(context.Background(), name(7))
	require.NoError(t, err)
	require.True(t, known)
	require.Equal(t, large, found.State)
}

func TestRejectionsAloneSettleToo(t *testing.T) {
	t.Parallel()
	s, h := newStore(t, config(t.TempDir()).SettlingEvery(10))
	for range 50 {
		_, err := s.Commit(context.Background(), &store.Batch{Claims: h.claims, Outcomes: []*commands.Outcome{
			{ID: commands.NewID(), Stream: name(1), Reason: commands.StaleTicket},
		}})
		require.NoError(t, err)
	}
	require.Greater(t, s.Settled(), uint64(30))
}
