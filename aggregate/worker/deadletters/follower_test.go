package deadletters_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/worker/deadletters"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands"
)

var errAway = errors.New("away")

// world is a store with letters, and a broker.
type world struct {
	mu         sync.Mutex
	letters    []store.DeadLetter
	away       bool // the store
	broken     bool // the broker
	receipt    bus.Receipt
	got        []bus.Notice
	told       int
	passedOver int
}

func (w *world) change(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// look lets everybody do what is to be done now, and then looks.
func (w *world) look(look func()) {
	synctest.Wait()
	w.change(look)
}

func (w *world) bury(letters ...store.DeadLetter) {
	w.change(func() {
		for _, l := range letters {
			l.N = uint64(len(w.letters) + 1)
			w.letters = append(w.letters, l)
		}
	})
}

func (w *world) Untold(_ context.Context, limit int) ([]store.DeadLetter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return nil, errAway
	}
	var untold []store.DeadLetter
	for _, l := range w.letters {
		if !l.Told && len(untold) < limit {
			untold = append(untold, l)
		}
	}
	return untold, nil
}

func (w *world) Told(_ context.Context, ns []uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return errAway
	}
	for i := range w.letters {
		w.letters[i].Told = w.letters[i].Told || slices.Contains(ns, w.letters[i].N)
	}
	return nil
}

func (w *world) Deliver(_ context.Context, notices []bus.Notice, _ time.Duration) ([]bus.Receipt, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken {
		return nil, errAway
	}
	receipts := make([]bus.Receipt, len(notices))
	for i, n := range notices {
		receipts[i] = w.receipt
		if w.receipt == bus.Taken {
			w.got = append(w.got, n)
		}
	}
	return receipts, nil
}

func start(t *testing.T, w *world) *deadletters.Follower {
	t.Helper()
	f, err := deadletters.New(deadletters.Config{Store: w, Publisher: w, Told: func(told, passedOver int) {
		w.change(func() { w.told, w.passedOver = w.told+told, w.passedOver+passedOver })
	}})
	require.NoError(t, err)
	f.Start()
	return f
}

func failed() store.DeadLetter {
	e := commands.Seal(commands.Command{ID: commands.NewID(), Stream: commands.Stream{Type: "order", ID: "42"}, Type: "add_line",
		Ticket: commands.Genesis, Session: "secret", Actor: "Ann", Data: []byte(`{"sku":"A1"}`)}, time.Now())
	e.CorrelationID, e.TraceParent = "c-1", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	return store.DeadLetter{At: time.Date(2026, 11, 22, 8, 15, 30, 123456000, time.UTC), Origin: store.OriginWorker, Envelope: &e,
		Reason: commands.Failed, Cause: "panic: boom\n" + strings.Repeat("é", 1000)}
}

func refused() store.DeadLetter {
	return store.DeadLetter{Origin: store.OriginAMQP, Reason: commands.Malformed, Cause: "no JSON", Message: &store.Message{
		Body: []byte(`{"session":"secret",`), Size: 99, ContentType: "text/plain", ContentEncoding: "gzip", MessageID: "m-1",
		CorrelationID: "c-2", ReplyTo: "answers", UserID: "shop", Exchange: "doorman.commands", RoutingKey: "any"}}
}

// DESIGN section 4, exchange doorman.dead: dead letters with the original message and why.
func TestALetterIsToldWithTheOriginalAndWhy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{receipt: bus.Taken}
		command := failed()
		w.bury(command, refused(), store.DeadLetter{Origin: store.OriginWorker, Reason: commands.Malformed, Cause: "no frame",
			Envelope: &commands.Envelope{Command: commands.Command{Data: []byte("\x00secret")}}})
		f := start(t, w)
		time.Sleep(time.Second)
		w.look(func() {
			require.Len(t, w.got, 3)
			first := w.got[0]
			detail, isText := first.Headers["x-doorman-detail"].(string)
			require.True(t, isText)
			require.True(t, strings.HasPrefix(command.Cause, detail[:1000]))
			require.LessOrEqual(t, len(detail), 1026)
			require.Equal(t, bus.Notice{Exchange: bus.DeadExchange, RoutingKey: "worker.failed", MessageID: command.Envelope.ID.String(),
				ContentType: "application/json", CorrelationID: "c-1", Persistent: true,
				Body: []byte(`{"id":"` + command.Envelope.ID.String() + `","stream":"order/42","type":"add_line","ticket":"genesis",` +
					`"actor":"Ann","data":{"sku":"A1"}}`),
				Headers: map[string]any{"x-doorman-number": int64(1), "x-doorman-origin": "worker", "x-doorman-reason": "failed",
					"x-doorman-detail": detail, "x-doorman-at": "2026-11-22T08:15:30.123456Z", "x-doorman-stream": "order/42",
					"traceparent": command.Envelope.TraceParent}}, first)
			second := w.got[1]
			require.Equal(t, bus.Notice{Exchange: bus.DeadExchange, RoutingKey: "amqp.malformed", MessageID: "m-1", ContentType: "text/plain",
				ContentEncoding: "gzip", CorrelationID: "c-2", Persistent: true, Body: []byte(`{"session":"…",`),
				Headers: map[string]any{"x-doorman-number": int64(2), "x-doorman-origin": "amqp", "x-doorman-reason": "malformed",
					"x-doorman-detail": "no JSON", "x-doorman-at": second.Headers["x-doorman-at"], "x-doorman-exchange": "doorman.commands",
					"x-doorman-routing-key": "any", "x-doorman-user-id": "shop", "x-doorman-size": int64(99)}}, second)
			require.Empty(t, w.got[2].Body, "a frame holds sessions")
			require.EqualValues(t, 7, w.got[2].Headers["x-doorman-size"])
			require.Equal(t, 3, w.told)
		})
		require.NoError(t, f.Shutdown(t.Context()))
	})
}

func TestAFailureIsToldAtOnceAndWhatOthersBuryWithinASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{receipt: bus.Taken}
		f := start(t, w)
		w.look(func() {})
		began := time.Now()
		w.bury(failed())
		f.Observe(store.Range{}, &aggregate.Result{})
		w.look(func() { require.Empty(t, w.got) })
		f.Observe(store.Range{}, &aggregate.Result{Failures: []aggregate.Failure{{}}})
		w.look(func() { require.Len(t, w.got, 1) })
		require.Zero(t, time.Since(began))
		w.bury(refused())
		time.Sleep(time.Second)
		w.look(func() { require.Len(t, w.got, 2) })
		for range 1000 {
			w.bury(refused())
		}
		time.Sleep(time.Second)
		w.look(func() { require.Len(t, w.got, 1002, "each once") })
		w.bury(refused())
		require.NoError(t, f.Shutdown(t.Context()))
		require.NoError(t, f.Shutdown(t.Context()), "again is fine")
		w.look(func() { require.Len(t, w.got, 1003, "the last ones at the end") })
	})
}

func TestWhatCannotBeToldIsToldLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{receipt: bus.Taken, away: true}
		w.bury(failed(), refused())
		f := start(t, w)
		time.Sleep(5 * time.Second)
		w.look(func() { w.away, w.broken = false, true })
		time.Sleep(5 * time.Second)
		w.look(func() {
			require.Empty(t, w.got)
			w.broken = false
		})
		time.Sleep(time.Second)
		w.look(func() { require.Len(t, w.got, 2) })
		require.NoError(t, f.Shutdown(t.Context()))
	})
}

// DESIGN section 4: a queue that refuses is tried for 10 s, then passed over.
func TestLettersThatNobodyTakesArePassedOverInTheEnd(t *testing.T) {
	t.Parallel()
	for _, receipt := range []bus.Receipt{bus.Refused, bus.Unanswered, bus.Unrouted} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{receipt: receipt}
			w.bury(failed())
			f := start(t, w)
			time.Sleep(9 * time.Second)
			w.look(func() {
				require.False(t, w.letters[0].Told)
				w.receipt = bus.Taken
			})
			time.Sleep(time.Second)
			w.look(func() {
				require.True(t, w.letters[0].Told)
				require.Equal(t, 1, w.told)
				w.receipt = receipt
			})
			w.bury(failed())
			time.Sleep(12 * time.Second)
			w.look(func() {
				require.True(t, w.letters[1].Told)
				require.Equal(t, 1, w.passedOver)
			})
			w.bury(failed())
			time.Sleep(time.Second)
			w.look(func() { require.Equal(t, 2, w.passedOver, "nobody waits for it again") })
			require.NoError(t, f.Shutdown(t.Context()))
		})
	}
}

// A broker that is away does not use up the time that others have to end.
func TestTheEndDoesNotWaitForABrokerThatIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.bury(failed())
		f, err := deadletters.New(deadletters.Config{Store: w, Publisher: away{}})
		require.NoError(t, err)
		f.Start()
		synctest.Wait()
		began := time.Now()
		require.NoError(t, f.Shutdown(t.Context()))
		require.Equal(t, time.Second, time.Since(began))
		require.False(t, w.letters[0].Told)
	})
}

// away is a broker that is waited for.
type away struct{}

func (away) Deliver(ctx context.Context, _ []bus.Notice, _ time.Duration) ([]bus.Receipt, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestWhatCannotBeCarriedIsPassedOverAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{receipt: bus.Unsendable}
		w.bury(failed())
		f := start(t, w)
		time.Sleep(time.Second)
		w.look(func() { require.Equal(t, 1, w.passedOver) })
		require.NoError(t, f.Shutdown(t.Context()))
	})
}

func TestConfigTellsEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := deadletters.New(deadletters.Config{Every: -1})
	for _, part := range []string{"Store is", "Publisher is", "Every"} {
		require.ErrorContains(t, err, part)
	}
	f, err := deadletters.New(deadletters.Config{Store: &world{}, Publisher: &world{}})
	require.NoError(t, err)
	require.NoError(t, f.Shutdown(t.Context()), "one that never began")
}
