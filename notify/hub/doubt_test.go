package hub_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/notify/hub"
)

// DESIGN section 3: a session is told of all its own commands, also that one waits when the word of it was lost on
// the way from another process; once, and not after it has been settled.
func TestWhatWasParkedWithoutAWordIsLookedUp(t *testing.T) {
	t.Parallel()
	onStage(t, nil, func(s *stage) {
		p := s.watch(&hub.Request{Sessions: []string{"mine"}})
		p.take()
		lost, told := waiting(stream(1), "mine"), waiting(stream(2), "mine")
		s.book.commit(&aggregate.Result{Park: []*aggregate.Waiting{lost, waiting(stream(1), "another's")}})
		result := &aggregate.Result{Park: []*aggregate.Waiting{told}}
		s.feed.Observe(s.book.commit(result), result)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Len(t, p.take(), 1, "one of them was told")
		s.feed.Doubt()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		messages := p.take()
		require.Len(t, messages, 1)
		require.Equal(t, commands.PushParked, messages[0].Event)
		require.Contains(t, string(messages[0].Data), lost.ID.String())
		s.feed.Doubt()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Empty(t, p.take(), "it has been told")
	})
}

// What other processes committed and did not tell may have parked something.
func TestWhatIsReadFromTheLogRaisesADoubt(t *testing.T) {
	t.Parallel()
	onStage(t, nil, func(s *stage) {
		p := s.watch(&hub.Request{Sessions: []string{"mine"}})
		p.take()
		lost := waiting(stream(1), "mine")
		s.book.commit(&aggregate.Result{Outcomes: []*commands.Outcome{landing(stream(3), "", 1)}, Park: []*aggregate.Waiting{lost}})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		messages := p.take()
		require.Len(t, messages, 1)
		require.Contains(t, string(messages[0].Data), lost.ID.String())
	})
}

// A command that was sent again is answered from the store, which may know more than has been noted: that it was
// parked is not told after that.
func TestWhatWasToldToHaveLandedIsNotToldToBeParked(t *testing.T) {
	t.Parallel()
	onStage(t, nil, func(s *stage) {
		p := s.watch(&hub.Request{Sessions: []string{"mine"}})
		p.take()
		w := waiting(stream(1), "mine")
		s.book.commit(&aggregate.Result{Park: []*aggregate.Waiting{w}})
		landed := landing(w.Stream, "mine", 1)
		landed.ID = w.ID
		result := &aggregate.Result{Outcomes: []*commands.Outcome{landed}}
		covered := s.book.commit(result) // the feed is told later
		again := aggregate.Answer{Ruling: aggregate.Repeat, ID: w.ID, Stream: w.Stream, Session: "mine"}
		before := store.Range{First: covered.First, Last: covered.First - 1}
		s.feed.Observe(before, &aggregate.Result{Answers: []aggregate.Answer{again}})
		synctest.Wait()
		s.feed.Observe(before, &aggregate.Result{Extend: []*aggregate.Waiting{w}})
		synctest.Wait()
		s.feed.Observe(covered, result)
		time.Sleep(time.Second)
		synctest.Wait()
		var told []string
		for _, m := range p.take() {
			told = append(told, m.Event)
		}
		require.Equal(t, []string{commands.PushLanded, commands.PushLanded}, told)
		w.ID = commands.NewID()
		s.feed.Observe(store.Range{First: 2, Last: 1}, &aggregate.Result{Park: []*aggregate.Waiting{w}})
		time.Sleep(time.Second)
		synctest.Wait()
		require.Len(t, p.take(), 1)
	})
}

// So it is also where more has been noted by then, and is told only after that.
func TestWhatWasToldToHaveLandedIsNotToldToBeParkedByWhatIsOwedAlready(t *testing.T) {
	t.Parallel()
	reader := &slow{}
	onStage(t, func(c *hub.Config) {
		reader.logbook = c.Reader.(*logbook)
		c.Reader = reader
	}, func(s *stage) {
		p := s.watch(&hub.Request{Sessions: []string{"mine"}})
		p.take()
		w := waiting(stream(1), "mine")
		s.book.commit(&aggregate.Result{Park: []*aggregate.Waiting{w}})
		again := &aggregate.Result{Answers: []aggregate.Answer{{Ruling: aggregate.Repeat, ID: w.ID, Stream: w.Stream, Session: "mine"}}}
		before := store.Range{First: 1, Last: 0}
		reader.meanwhile = func() { // the next turn finds all of it
			s.feed.Observe(before, again)
			s.feed.Observe(before, &aggregate.Result{Extend: []*aggregate.Waiting{w}})
			landed := landing(w.Stream, "mine", 1)
			landed.ID = w.ID
			result := &aggregate.Result{Outcomes: []*commands.Outcome{landed}}
			s.feed.Observe(s.book.commit(result), result)
		}
		s.feed.Observe(before, again)
		time.Sleep(time.Second)
		synctest.Wait()
		var told []string
		for _, m := range p.take() {
			told = append(told, m.Event)
		}
		require.Equal(t, []string{commands.PushParked, commands.PushLanded, commands.PushLanded}, told)
	})
}

// slow answers Status with what was true before something happened.
type slow struct {
	*logbook
	meanwhile func()
}

func (l *slow) Status(ctx context.Context, ids []commands.ID) ([]store.CommandStatus, error) {
	found, err := l.logbook.Status(ctx, ids)
	if then := l.meanwhile; then != nil {
		l.meanwhile = nil
		then()
	}
	return found, err
}

// late answers WaitingOf with what was true before something happened.
type late struct {
	*logbook
	meanwhile func()
}

func (l *late) WaitingOf(ctx context.Context, sessions []string, limit int) ([]store.CommandStatus, error) {
	found, err := l.logbook.WaitingOf(ctx, sessions, limit)
	if then := l.meanwhile; then != nil {
		l.meanwhile = nil
		then()
	}
	return found, err
}

// What lands while the store is being asked is not told to be parked, also to a reader that was away meanwhile.
func TestWhatLandsWhileTheStoreIsAskedIsNotToldToBeParked(t *testing.T) {
	t.Parallel()
	reader := &late{}
	onStage(t, func(c *hub.Config) {
		reader.logbook = c.Reader.(*logbook)
		c.Reader = reader
	}, func(s *stage) {
		p := s.watch(&hub.Request{Sessions: []string{"mine"}})
		w := waiting(stream(1), "mine")
		s.book.commit(&aggregate.Result{Park: []*aggregate.Waiting{w}})
		var again *pad
		reader.meanwhile = func() {
			p.conn.Close()
			landed := landing(w.Stream, "mine", 1)
			landed.ID = w.ID
			s.land(landed)
			again = s.watch(&hub.Request{Sessions: []string{"mine"}, After: &commands.Position{Epoch: epoch}})
			s.land(landing(stream(9), "mine", 1))
		}
		s.feed.Doubt()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		var told []string
		for _, m := range again.take() {
			told = append(told, m.Event)
		}
		require.Equal(t, []string{commands.PushLanded, commands.PushLanded}, told)
	})
}
