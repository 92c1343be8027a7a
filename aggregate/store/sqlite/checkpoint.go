package sqlite

import (
	"errors"
	"log/slog"

	"github.com/ticketed/doorman/aggregate/store/sqlite/engine"
)

// Commits append pages to SQLite's write-ahead log; a checkpoint moves them into the file. Most of it is done
// on a connection of its own beside the commits. What came meanwhile is little, and is moved while commits
// wait, and until every read that looks into the log is over (those that begin meanwhile do not): only then
// does the log begin again from its front.
const (
	checkpointFrames = 2 << 10  // pages in the log that start a checkpoint: 16 MiB
	remainderFrames  = 256      // pages that commits may wait for: 2 MiB
	hardLimitFrames  = 11 << 10 // pages after which commits wait for the whole checkpoint: 88 MiB, as one may be of 32 MiB
	askEvery         = 8        // commits between one asking for a checkpoint and the next, while the log is long
	waitForReads     = "100"    // milliseconds
)

// checkpoints keeps the write-ahead log short.
type checkpoints struct {
	store   *Store
	conn    *engine.Conn
	log     *slog.Logger
	wanted  chan struct{}
	stop    chan struct{}
	stopped chan struct{}

	due int // since so many commits a checkpoint is due; it belongs to whoever writes
}

func openCheckpoints(s *Store) (*checkpoints, error) {
	pragmas := append(s.pragmas(readerCacheBytes), "busy_timeout = "+waitForReads)
	conn, err := engine.Open(s.path, engine.Options{Pragmas: pragmas})
	if err != nil {
		return nil, err
	}
	c := &checkpoints{store: s, conn: conn, log: s.config.Log, wanted: make(chan struct{}, 1),
		stop: make(chan struct{}), stopped: make(chan struct{})}
	go c.run()
	return c, nil
}

// committed looks at the length of the log, which one commit may make longer by a quarter of what it may be, and asks for
// a checkpoint when it is time; again some commits later, since one that finds a read in its way keeps commits waiting.
func (c *checkpoints) committed(writer *engine.Conn) {
	frames, _, err := writer.Checkpoint(engine.Look)
	if err != nil || frames < checkpointFrames {
		c.due = 0
		return
	}
	if c.due%askEvery == 0 {
		select {
		case c.wanted <- struct{}{}:
		default:
		}
	}
	c.due++
	if frames > hardLimitFrames {
		c.tell(finish(writer, engine.Restart))
	}
}

// tell reports a failure. It will be tried again: the log is still long at the next look.
func (c *checkpoints) tell(err error) {
	if err != nil {
		c.log.Warn("checkpoint of the store failed", "err", err)
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
		c.tell(c.checkpoint())
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
	return finish(c.conn, engine.Restart)
}

// finish moves what is left, and makes the log begin again. The caller holds writing.
func finish(conn *engine.Conn, mode int) error {
	_, _, err := conn.Checkpoint(mode)
	if engine.CodeOf(err)&0xff == engine.Busy {
		return nil // a read takes long; the next checkpoint finds the log where this one left it
	}
	return err
}

// halt ends the checkpoints in the background. The caller does not hold writing.
func (c *checkpoints) halt() {
	close(c.stop)
	<-c.stopped
}

// close does a last checkpoint, which leaves the log empty. Nobody reads or writes any more.
func (c *checkpoints) close() error {
	return errors.Join(finish(c.conn, engine.Truncate), c.conn.Close())
}
