package bus_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/commands"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCommandsLeaveAtOnceWhileFewFramesAreUnderWay(t *testing.T) {
	t.Parallel()
	p := &publisher{}
	s := newSender(t, p, bus.SenderConfig{Lanes: 1, InFlight: 2})
	s.send("a", "b", "c", "d", "e")
	require.Equal(t, []string{"a", "b"}, p.frames(), "what comes while two are under way waits")

	p.answer(0, nil)
	require.Equal(t, []string{"a", "b", "c d e"}, p.frames(), "and leaves together when one is confirmed")
	s.send("f")
	p.answer(2, nil)
	require.Equal(t, []string{"a", "b", "c d e", "f"}, p.frames())
	p.answer(1, nil)
	p.answer(3, nil)
	s.requireTold("a=ok c=ok d=ok e=ok b=ok f=ok")
}

func TestAnotherLaneDoesNotWait(t *testing.T) {
	t.Parallel()
	p := &publisher{}
	s := newSender(t, p, bus.SenderConfig{Lanes: 4, InFlight: 1})
	busy, other := command("a"), command("b")
	for n := 'c'; other.Stream.Lane(4) == busy.Stream.Lane(4); n++ {
		other.Stream.ID = string(n)
	}
	s.Send(busy, s.done("a"))
	s.Send(busy, s.done("again"))
	s.Send(other, s.done("b"))
	require.Equal(t, []string{"a", "b"}, p.frames())
	require.Equal(t, bus.LaneTopic(busy.Stream.Lane(4)), p.topic(0))
	require.Equal(t, bus.LaneTopic(other.Stream.Lane(4)), p.topic(1))
	p.answerAll(nil)
	p.answerAll(nil)
}

func TestLanesTakeTurnsWithinAWindow(t *testing.T) {
	t.Parallel()
	p := &publisher{}
	s := newSender(t, p, bus.SenderConfig{Lanes: 4, InFlight: 2, Window: 1})
	first, second := command("a"), command("b")
	for n := 'c'; second.Stream.Lane(4) == first.Stream.Lane(4); n++ {
		second.Stream.ID = string(n)
	}
	s.Send(first, s.done("a"))
	s.Send(second, s.done("b"))
	s.Send(first, s.done("a again"))
	s.Send(second, s.done("b again"))
	require.Equal(t, []string{"a"}, p.frames())
	p.answer(0, nil)
	require.Equal(t, []string{"a", "b b"}, p.frames(), "whoever has waited longest is next, with all that came meanwhile")
	p.answer(1, nil)
	require.Equal(t, []string{"a", "b b", "a"}, p.frames())
	p.answer(2, nil)
}

// DESIGN section 7: a lane whose queue is out of order keeps no other waiting.
func TestAFrameThatIsStuckDoesNotFillTheWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{}
		s := newSender(t, p, bus.SenderConfig{Lanes: 4, Window: 1})
		envs := perLane(4)
		stuck, other, third := envs[0], envs[1], envs[2]
		s.Send(stuck, s.done("a"))
		s.Send(other, s.done("b"))
		s.Send(third, s.done("c"))
		time.Sleep(99 * time.Millisecond)
		synctest.Wait()
		require.Len(t, p.frames(), 1)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		require.Len(t, p.frames(), 2)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		require.Len(t, p.frames(), 3, "nor does the next one")
		s.Send(other, s.done("b"))
		p.answer(0, nil)
		require.Len(t, p.frames(), 3, "the late answer makes no room")
		p.answer(2, nil)
		require.Len(t, p.frames(), 4)
		p.answerAll(nil)
	})
}

// Several are, as when a node of the broker is lost: the others wait for as long as for one.
func TestFramesThatAreStuckWidenTheWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{}
		s := newSender(t, p, bus.SenderConfig{Lanes: 8, Window: 6, FrameTime: 10 * time.Millisecond})
		envs := perLane(8)
		s.Send(envs[0], s.done("a"))
		time.Sleep(time.Millisecond)
		p.answer(0, nil)
		for _, env := range envs {
			s.Send(env, s.done("a"))
		}
		require.Len(t, p.open(), 2, "a millisecond is quick")
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		require.Len(t, p.open(), 8)
		p.answerAll(nil)
	})
}

// perLane gives a command for each lane.
func perLane(lanes int) map[int]*commands.Envelope {
	envs := map[int]*commands.Envelope{}
	for n := 0; len(envs) < lanes; n++ {
		env := command("a")
		env.Stream.ID = strconv.Itoa(n)
		envs[env.Stream.Lane(lanes)] = env
	}
	return envs
}

func TestTheWindowIsAsWideAsTheBusIsSlow(t *testing.T) {
	t.Parallel()
	const lanes = 64
	envs := perLane(lanes)
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{}
		s := newSender(t, p, bus.SenderConfig{Lanes: lanes, Window: 8, FrameTime: 2 * time.Millisecond})
		wave := func() int {
			for _, env := range envs {
				s.Send(env, s.done("a"))
			}
			return len(p.open())
		}
		answerAfter := func(took time.Duration) {
			for len(p.open()) > 0 {
				time.Sleep(took)
				p.answerAll(nil)
			}
		}
		usually := func(took time.Duration) {
			for range 40 {
				wave()
				answerAfter(took)
			}
		}
		require.Equal(t, 8, wave(), "nothing is known of a bus that has not answered")
		answerAfter(9 * time.Millisecond)
		require.Equal(t, 4, wave())
		for range 8 {
			for _, n := range p.open() {
				p.answer(n, bus.ErrUnavailable)
			}
		}
		require.Len(t, p.open(), 4, "a refusal is quick and tells nothing")
		answerAfter(500 * time.Microsecond)
		usually(500 * time.Microsecond)
		require.Equal(t, 2, wave(), "one alone would leave each end idle while the other works")
		time.Sleep(30 * time.Millisecond)
		p.answer(p.open()[0], nil)
		require.Len(t, p.open(), 2, "it may be an exception")
		answerAfter(30 * time.Millisecond)
		usually(30 * time.Millisecond)
		require.Equal(t, 8, wave())
		answerAfter(30 * time.Millisecond)
	})
}

func TestFramesAreBounded(t *testing.T) {
	t.Parallel()
	p := &publisher{}
	s := newSender(t, p, bus.SenderConfig{Lanes: 1, InFlight: 1, MaxFrame: 3, MaxFrameBytes: 1000})
	large, huge := command("large"), command("huge")
	large.Data, huge.Data = make([]byte, 800), make([]byte, 5000)
	s.send("first", "a", "b", "c", "d")
	s.Send(large, s.done("large"))
	s.send("e", "f")
	s.Send(huge, s.done("huge"))
	s.send("g")
	for range 6 {
		p.answerAll(nil)
	}
	require.Equal(t, []string{"first", "a b c", "d large", "e f", "huge", "g"}, p.frames(),
		"three commands at most, 1,000 bytes at most, and one that is larger by itself")
}

func TestAFullLaneRefusesBeforeSendReturns(t *testing.T) {
	t.Parallel()
	p := &publisher{}
	s := newSender(t, p, bus.SenderConfig{Lanes: 1, InFlight: 1, MaxPending: 3})
	s.send("a", "b", "c", "d")
	s.requireTold("d=full")
	p.answer(0, nil)
	s.send("e", "f")
	s.requireTold("d=full a=ok f=full")
	p.answerAll(nil)
	p.answerAll(nil)
	s.requireTold("d=full a=ok f=full b=ok c=ok e=ok")
}

func TestALaneIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	p := &publisher{}
	s := newSender(t, p, bus.SenderConfig{Lanes: 1, MaxPendingBytes: 1000})
	large := command("large")
	large.Data = make([]byte, 2000)
	s.Send(large, s.done("large"))
	s.send("a")
	s.requireTold("a=full", "a lane that holds nothing takes a command of any size, but none after it")
	p.answerAll(nil)
	s.send("b")
	s.requireTold("a=full large=ok")
	p.answerAll(nil)

	size := frame.Size(command("a"))
	s = newSender(t, p, bus.SenderConfig{Lanes: 1, MaxPendingBytes: 3 * size})
	for range 2 * size {
		s.told = nil
		s.send("a", "b", "c", "d")
		p.answerAll(nil)
		s.requireTold("d=full a=ok b=ok c=ok", "the bound is exact, however many frames have been through")
	}
}

// Two goroutines that send must not overtake each other between taking a frame and handing it over.
func TestAFrameIsNotOvertakenWhileItIsHandedOver(t *testing.T) {
	t.Parallel()
	p := &publisher{}
	s := newSender(t, p, bus.SenderConfig{Lanes: 1})
	p.before = func() {
		p.before = nil
		s.send("b", "c")
	}
	s.send("a")
	require.Equal(t, []string{"a", "b c"}, p.frames())
	p.answerAll(nil)
}

func TestAnErrorReachesEveryCommandOfItsFrame(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{bus.ErrUnavailable, bus.ErrFull, bus.ErrFateUnknown, bus.ErrClosed} {
		p := &publisher{}
		s := newSender(t, p, bus.SenderConfig{Lanes: 1, InFlight: 1})
		s.send("a", "b", "c")
		p.answer(0, nil)
		s.send("d")
		p.answer(1, failure)
		p.answer(2, nil)
		s.requireTold("a=ok b=" + name(failure) + " c=" + name(failure) + " d=ok")
	}
}

func TestAPublisherMayAnswerBeforeItReturns(t *testing.T) {
	t.Parallel()
	p := &publisher{refuse: bus.ErrFull}
	s := newSender(t, p, bus.SenderConfig{Lanes: 1, InFlight: 1})
	s.send("a", "b")
	s.SendAll([]*commands.Envelope{command("c"), command("d")}, func(i int, err error) {
		s.done([]string{"c", "d"}[i])(err)
	})
	s.requireTold("a=full b=full c=full d=full")
	require.Equal(t, []string{"a", "b", "c d"}, p.frames())
}

func TestDoneMaySendAgain(t *testing.T) {
	t.Parallel()
	p := &publisher{}
	s := newSender(t, p, bus.SenderConfig{Lanes: 1, MaxPending: 1})
	s.Send(command("a"), func(err error) {
		require.NoError(t, err)
		s.send("b")
	})
	p.answerAll(nil)
	p.answerAll(nil)
	s.requireTold("b=ok", "the answered command has made room")
}

func TestAnArrayLeavesTogetherInItsOrder(t *testing.T) {
	t.Parallel()
	p := &publisher{}
	s := newSender(t, p, bus.SenderConfig{Lanes: 1, MaxFrame: 3})
	s.sendAll("a", "b", "c", "d", "e")
	require.Equal(t, []string{"a b c", "d e"}, p.frames())
	p.answer(1, bus.ErrUnavailable)
	p.answer(0, nil)
	s.requireTold("d=unavailable e=unavailable a=ok b=ok c=ok")
	s.sendAll()
	require.Len(t, p.frames(), 2, "an empty array is nothing")
}

// A command whose predecessor in the same array was refused would wait for it in vain.
func TestALaneThatRefusesOneOfAnArrayRefusesTheRest(t *testing.T) {
	t.Parallel()
	p := &publisher{}
	s := newSender(t, p, bus.SenderConfig{Lanes: 2, InFlight: 1, MaxPendingBytes: 1000})
	array := []*commands.Envelope{command("a"), command("large"), command("small"), command("other")}
	array[1].Data = make([]byte, 1000)
	for n := 'p'; array[3].Stream.Lane(2) == array[0].Stream.Lane(2); n++ {
		array[3].Stream.ID = string(n)
	}
	s.SendAll(array, func(i int, err error) { s.done(array[i].Type)(err) })
	s.requireTold("large=full small=full")
	p.answerAll(nil)
	s.requireTold("large=full small=full a=ok other=ok", "the other lane is not concerned")
}

// DESIGN section 3: unavailable says that nothing was accepted, fate_unknown that it may have been.
func TestWhatHasNotLeftCanBeTakenBack(t *testing.T) {
	t.Parallel()
	p := &publisher{}
	size := frame.Size(command("a"))
	s := newSender(t, p, bus.SenderConfig{Lanes: 1, InFlight: 1, MaxFrame: 3, MaxPendingBytes: 8 * size})
	var envs []*commands.Envelope
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		env := command(name)
		envs = append(envs, env)
		s.Send(env, s.done(name))
	}
	s.Withdraw(envs[0], envs[1], envs[4], envs[5])
	s.requireTold("b=unavailable e=unavailable f=unavailable", "a has left")
	s.Withdraw(envs[0], envs[1], envs[4], envs[5])
	require.Equal(t, 3, s.Pending())
	s.send("g", "h", "i", "j", "k", "l")
	s.requireTold("b=unavailable e=unavailable f=unavailable l=full", "what was taken back has made room, and no more")
	for range 4 {
		p.answerAll(nil)
	}
	require.Equal(t, []string{"a", "c d", "g h i", "j k"}, p.frames())
	s.requireTold("b=unavailable e=unavailable f=unavailable l=full a=ok c=ok d=ok g=ok h=ok i=ok j=ok k=ok")
	require.NoError(t, s.Close(t.Context()))
}

func TestCloseLetsEverythingLeaveAndWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{}
		s := newSender(t, p, bus.SenderConfig{Lanes: 1, InFlight: 1})
		s.send("a", "b", "c")
		closed := make(chan error, 2)
		for range 2 {
			go func() { closed <- s.Close(t.Context()) }()
		}
		synctest.Wait()
		s.send("late")
		s.sendAll("later")
		s.requireTold("late=closed later=closed")
		p.answerAll(nil)
		synctest.Wait()
		require.Equal(t, []string{"a", "b c"}, p.frames())
		require.Empty(t, closed, "a frame is under way")
		p.answerAll(nil)
		require.NoError(t, <-closed)
		require.NoError(t, <-closed)
		s.requireTold("late=closed later=closed a=ok b=ok c=ok")
		require.NoError(t, s.Close(t.Context()))
	})
}

func TestCloseGivesUpWithItsContextAndTellsTheTruth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{}
		s := newSender(t, p, bus.SenderConfig{Lanes: 2, InFlight: 1, MaxFrame: 1})
		s.Send(command("a"), func(err error) {
			s.done("a")(err)
			p.answer(0, nil) // too late
		})
		s.send("b", "c")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()

		err := s.Close(ctx)

		require.ErrorIs(t, err, context.DeadlineExceeded)
		s.requireTold("a=unknown b=closed c=closed", "a had left, the others had not, and an answer that comes later is not told")
		require.Equal(t, []string{"a"}, p.frames(), "and nothing leaves any more")
	})
}

func TestCloseWaitsForTheDonesThemselves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{}
		s := newSender(t, p, bus.SenderConfig{Lanes: 1})
		telling, told := make(chan struct{}), make(chan struct{})
		s.Send(command("a"), func(error) {
			close(telling)
			<-told
		})
		go p.answerAll(nil)
		<-telling
		closed := make(chan error, 1)
		go func() { closed <- s.Close(t.Context()) }()
		synctest.Wait()
		require.Empty(t, closed)
		close(told)
		require.NoError(t, <-closed)
	})
}

func TestSendWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{}
		s := newSender(t, p, bus.SenderConfig{Lanes: 1})
		for _, want := range []error{nil, bus.ErrUnavailable} {
			answer := make(chan error, 1)
			go func() { answer <- s.SendWait(t.Context(), command("a")) }()
			synctest.Wait()
			require.Empty(t, answer)
			p.answerAll(want)
			require.ErrorIs(t, <-answer, want)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := s.SendWait(ctx, command("b"))
		require.ErrorIs(t, err, bus.ErrFateUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		err = s.SendWait(ctx, command("c"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, bus.ErrFateUnknown)
		require.Equal(t, []string{"a", "a", "b"}, p.frames(), "with a context that has ended nothing is sent")
		p.answerAll(nil)
	})
}

func TestASenderNeedsLanesAndAPublisher(t *testing.T) {
	t.Parallel()
	_, err := bus.NewSender(&publisher{}, bus.SenderConfig{})
	require.EqualError(t, err, "sender: the number of lanes is 0 and must be 1 or more")
	_, err = bus.NewSender(nil, bus.SenderConfig{Lanes: -1})
	require.ErrorContains(t, err, "there is no publisher")
	require.ErrorContains(t, err, "the number of lanes is -1")
}

func name(err error) string {
	for text, known := range map[string]error{
		"unavailable": bus.ErrUnavailable, "full": bus.ErrFull, "unknown": bus.ErrFateUnknown, "closed": bus.ErrClosed,
	} {
		if errors.Is(err, known) {
			return text
		}
	}
	if err != nil {
		return err.Error()
	}
	return "ok"
}

func command(name string) *commands.Envelope {
	env := commands.Seal(commands.Command{
		ID: commands.NewID(), Stream: commands.Stream{Type: "order", ID: "1"}, Type: name, Ticket: commands.Genesis,
	}, time.Now())
	return &env
}

// watched is a sender whose answers are written down in the order they are told.
type watched struct {
	*bus.Sender
	t    *testing.T
	told []string
}

func newSender(t *testing.T, p bus.Publisher, config bus.SenderConfig) *watched {
	t.Helper()
	s, err := bus.NewSender(p, config)
	require.NoError(t, err)
	return &watched{Sender: s, t: t}
}

func (w *watched) done(command string) func(error) {
	return func(err error) { w.told = append(w.told, command+"="+name(err)) }
}

func (w *watched) send(names ...string) {
	for _, name := range names {
		w.Send(command(name), w.done(name))
	}
}

func (w *watched) sendAll(names ...string) {
	envs := make([]*commands.Envelope, len(names))
	for i, name := range names {
		envs[i] = command(name)
	}
	w.SendAll(envs, func(i int, err error) { w.done(names[i])(err) })
}

func (w *watched) requireTold(want string, why ...any) {
	w.t.Helper()
	require.Equal(w.t, want, strings.Join(w.told, " "), why...)
}
