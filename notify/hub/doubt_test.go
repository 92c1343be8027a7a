package hub_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
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
