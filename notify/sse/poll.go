package sse

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/notify/hub"
)

// poll answers with what is owed by now; when that is nothing, it waits for something as long as asked.
func (h *Handler) poll(w http.ResponseWriter, r *http.Request, request *hub.Request) error {
	seconds, waiting := headers.Wait(r.Header["Prefer"])
	s := &gathered{room: &h.room, resumed: request.After != nil, some: make(chan struct{}), ended: make(chan struct{})}
	defer s.leave()
	conn, err := h.config.Hub.Open(r.Context(), request, s)
	if errors.Is(err, errTooMuch) && s.count() == 0 {
		refuse(w, problem.Newf(commands.TooLarge, "%s: ask for fewer streams, or for server-sent events", errTooMuch))
		return nil
	}
	if err != nil && s.count() == 0 {
		return err
	}
	s.goLive()
	if err == nil && waiting {
		w.Header()["Preference-Applied"] = headers.Applied(seconds)
		timer := time.NewTimer(time.Duration(seconds) * time.Second)
		defer timer.Stop()
		select {
		case <-s.some:
		case <-s.ended:
		case <-timer.C:
		case <-r.Context().Done():
		}
	}
	if conn != nil {
		conn.Close()
	}
	body := s.answer()
	headers.DescribeJSON(w.Header(), headers.NoStore, len(body))
	_, _ = w.Write(body) // who has gone needs no answer
	return nil
}

// gathered keeps what is told until it is complete up to a mark.
type gathered struct {
	room    *room
	resumed bool // it goes on from where an earlier answer ended

	mu      sync.Mutex
	live    bool // the opening is over
	news    bool // some of it was not in that answer
	items   []commands.ItemView
	bytes   int // of them
	whole   int // items[:whole] go with the mark
	mark    commands.Position
	answers bool          // some is closed
	some    chan struct{} // closed when there is something to answer
	ended   chan struct{} // closed when the hub ends it
	closed  bool
}

var _ hub.Sink = (*gathered)(nil)

// Put is hub.Sink's.
func (s *gathered) Put(d *hub.Delivery) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, hub.ErrStopped
	}
	for i := range d.Messages {
		if !s.room.take(len(d.Messages[i].Data)) {
			return false, hub.ErrNoRoom
		}
		s.items = append(s.items, commands.ItemView{Event: d.Messages[i].Event, Data: d.Messages[i].Data})
		s.bytes += len(d.Messages[i].Data)
		// What is parked or refused still is told at every opening; it is no reason to answer at once again.
		s.news = s.news || s.live || !s.resumed || placed(&d.Messages[i]) || d.Messages[i].Event == commands.PushReset
	}
	if d.Mark.Epoch == "" {
		if s.bytes > mostUnmarked {
			return false, errTooMuch
		}
		return false, nil
	}
	if s.mark, s.whole = d.Mark, len(s.items); s.whole > 0 {
		if n := len(d.Messages); n > 0 && placed(&d.Messages[n-1]) {
			s.items[s.whole-1].ID = d.Mark.String()
		}
	}
	if s.news && !s.answers {
		s.answers = true
		close(s.some)
	}
	if s.whole >= mostItems || s.bytes >= mostItemBytes {
		return false, errEnough
	}
	return false, nil
}

// One answer of a long poll has about so much, wherever a mark lets it end; the rest is for the next one.
const (
	mostItems     = 1000
	mostItemBytes = 1 << 20
)

// mostUnmarked bounds what is gathered where no mark lets it end: the states of all that can be watched, and
// more than enough of what was missed.
const mostUnmarked = 64 << 20

var (
	errEnough  = errors.New("there is enough for one answer")
	errTooMuch = errors.New("what was missed does not fit into one answer")
)

// goLive notes that whatever is told from now on has just happened.
func (s *gathered) goLive() {
	s.mu.Lock()
	s.live = true
	s.mu.Unlock()
}

// count is how many items can be answered.
func (s *gathered) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.whole
}

// Flush is hub.Sink's.
func (*gathered) Flush() error { return nil }

// Close is hub.Sink's.
func (s *gathered) Close(string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.ended)
	}
}

// leave gives back the room for what was gathered; nothing is any more.
func (s *gathered) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.room.give(s.bytes)
	s.bytes = 0
}

func (s *gathered) answer() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	view := commands.PollView{After: s.mark.String(), Items: s.items[:s.whole]}
	return view.AppendTo(nil)
}
