package sqlite

import (
	"errors"
	"log/slog"

	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
)

// Commits append pages to SQLite's write-ahead log; a checkpoint moves them into the file. Most of it is done
// on a connection of its own beside the commits. What came meanwhile is little, and is moved while commits
// wait, since only a log that has been moved whole begins again from its front.
const (
	checkpointFrames = 4 << 10 // pages in the log that start a checkpoint: 32 MiB
	remainderFrames  = 256     // pages that commits may wait for: 2 MiB
	hardLimitFrames  = 64 << 10
	lookEvery        = 8 // commits between looks at the length of the log
)

// checkpoints keeps the write-ahead log short.
type checkpoints struct {
	store   *Store
	conn    *engine.Conn
	log     *slog.Logger
	wanted  chan struct{}
	stop    chan struct{}
	stopped chan struct{}

	commits int // since the last look; belongs to whoever writes
}

func openCheckpoints(s *Store) (*checkpoints, error) {
	conn, err := engine.Open(s.path, engine.Options{Pragmas: s.pragmas(readerCacheBytes)})
	if err != nil {
		return nil, err
	}
	c := &checkpoints{store: s, conn: conn, log: s.config.Log, wanted: make(chan struct{}, 1),
		stop: make(chan struct{}), stopped: make(chan struct{})}
	go c.run()
	return c, nil
}

// committed looks at the length of the log now and then, and asks for a checkpoint when it is time.
func (c *checkpoints) committed(writer *engine.Conn) {
	if c.commits++; c.commits%lookEvery != 0 {
		return
	}
	frames, _, err := writer.Checkpoint(engine.Look)
	if err != nil || frames < checkpointFrames {
		return
	}
	select {
	case c.wanted <- struct{}{}:
	default:
	}
	if frames > hardLimitFrames {
		// Commits outran the checkpoints, or a reader held on to an old page for long: let them wait.
		if _, _, err := writer.Checkpoint(engine.Passive); err != nil {
			c.log.Warn("checkpoint of the store failed", "err", err)
		}
	}
}

func (c *checkpoints) run() {
	defer close(c.stopped)
	for {
		select {
		case <-c.stop:
			return
		case <-c.wanted:
		}
		if err := c.checkpoint(); err != nil {
			// It will be tried again: the log is still long at the next look.
			c.log.Warn("checkpoint of the store failed", "err", err)
		}
	}
}

func (c *checkpoints) checkpoint() error {
	for range 4 {
		_, moved, err := c.conn.Checkpoint(engine.Passive)
		if err != nil {
			return err
		}
		frames, _, err := c.conn.Checkpoint(engine.Look)
		if err != nil {
			return err
		}
		if frames-moved <= remainderFrames {
			break
		}
	}
	c.store.writing.Lock()
	defer c.store.writing.Unlock()
	_, _, err := c.conn.Checkpoint(engine.Passive)
	return err
}

// halt ends the checkpoints in the background. The caller does not hold writing.
func (c *checkpoints) halt() {
	close(c.stop)
	<-c.stopped
}

// close does a last checkpoint, which leaves the log empty. Nobody reads or writes any more.
func (c *checkpoints) close() error {
	_, _, err := c.conn.Checkpoint(engine.Truncate)
	return errors.Join(err, c.conn.Close())
}
