package hub

import (
	"context"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/ticketed/doorman/commands"
)

const (
	// doubtEvery is how often the store is asked for parked commands, at most.
	doubtEvery = time.Second
	// askedAtOnce is for how many sessions it is asked with one word.
	askedAtOnce = 1024
	// maxToldParked bounds what is remembered of what was told to be parked.
	maxToldParked = 1 << 16
)

// doubt is what is needed to tell of commands that were parked without a word: by a worker of another process
// whose message was lost, or came so late that it need not be true any more.
type doubt struct {
	raised chan struct{} // holds a token when there may be such
	// Guarded by the hub's lock.
	told    *simplelru.LRU[commands.ID, time.Time] // until when what was told to be parked waits
	settled map[commands.ID]bool                   // what has come to an outcome since the store was asked; nil: it is not being asked
}

func newDoubt() doubt {
	told, _ := simplelru.NewLRU[commands.ID, time.Time](maxToldParked, nil) // it fails for a size of 0 alone
	return doubt{raised: make(chan struct{}, 1), told: told}
}

func (d *doubt) raise() {
	select {
	case d.raised <- struct{}{}:
	default:
	}
}

// note takes outcomes, also of sessions that nobody follows at the moment: they may come back while the store is
// being asked.
func (d *doubt) note(outcomes []*commands.Outcome) {
	if d.settled == nil {
		return
	}
	for _, o := range outcomes {
		if o.Session != "" {
			d.settled[o.ID] = true
		}
	}
}

// resolveDoubts asks the store for parked commands whenever some may not have been told.
func (h *Hub) resolveDoubts() {
	pause := time.NewTicker(doubtEvery)
	defer pause.Stop()
	for {
		select {
		case <-h.doubt.raised:
		case <-h.ctx.Done():
			return
		}
		if err := h.tellParkedAgain(h.ctx); err != nil && h.ctx.Err() == nil {
			h.config.Log.Warn("cannot look up what is parked; trying again", "err", err)
			h.doubt.raise()
		}
		select {
		case <-pause.C:
		case <-h.ctx.Done():
			return
		}
	}
}

// tellParkedAgain tells all sessions of their parked commands that they have not been told of. What comes to an
// outcome while the store is being asked is not told to be parked after that.
func (h *Hub) tellParkedAgain(ctx context.Context) error {
	h.mu.Lock()
	sessions := make([]string, 0, len(h.sessions))
	for s := range h.sessions {
		sessions = append(sessions, s)
	}
	h.doubt.settled = map[commands.ID]bool{}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		h.doubt.settled = nil
		h.mu.Unlock()
	}()
	for len(sessions) > 0 {
		n := min(len(sessions), askedAtOnce)
		waiting, err := h.config.Reader.WaitingOf(ctx, sessions[:n], mostParked)
		if err != nil {
			return err
		}
		h.mu.Lock()
		for i := range waiting {
			if s := &waiting[i]; !h.doubt.settled[s.ID] && !h.doubt.wasTold(s) {
				h.oweParked(s.Waiting.Session, h.end, viewParked(s))
			}
		}
		h.mu.Unlock()
		sessions = sessions[n:]
	}
	return nil
}

// wasTold tells whether it was told that a command waits until about then: what the store tells goes by the clock
// of the moment.
func (d *doubt) wasTold(s *commandStatus) bool {
	until, told := d.told.Get(s.ID)
	return told && s.Until.Sub(until).Abs() < time.Second
}

// oweParked owes a session the word that a command of its waits.
func (h *Hub) oweParked(session string, position uint64, view *commands.ParkedView) {
	h.doubt.told.Add(view.ID, view.Until)
	h.owe(session, &private{position: position, waiting: view})
}
