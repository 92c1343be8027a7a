package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/bus"
)

// Worker holds lanes: it judges their commands and commits what comes of them.
type Worker struct {
	cfg       Config
	laneCount int

	inbox *inbox
	desk  *desk // the one in charge; changed by watch only
	stuck stuck

	committing chan work
	commits    chan committed
	telling    chan told
	silent     chan struct{} // closed when everything committed has been told

	ready     chan struct{} // closed when the lanes are held for the first time
	readyOnce sync.Once
	trouble   atomic.Pointer[trouble] // nil while the lanes are held
	retired   sync.Once               // when Fenced has been told
	receiving cancellable             // the subscription, until everything else has ended
	reading   cancellable             // of the store, until the stop
	writing   cancellable             // commits, until the time of the stop is over
	stopping  chan struct{}
	stopOnce  sync.Once
	stopped   chan struct{}
	started   atomic.Bool
	running   sync.WaitGroup
}

// cancellable is a context for as long as something may go on.
type cancellable struct {
	ctx  context.Context
	over context.CancelFunc
}

func newCancellable() cancellable {
	ctx, over := context.WithCancel(context.Background())
	return cancellable{ctx, over}
}

// New makes a worker; nothing runs until Start.
func New(cfg Config) (*Worker, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	w := &Worker{
		cfg: cfg, laneCount: cfg.Store.Identity().Lanes, inbox: newInbox(),
		committing: make(chan work, 1), commits: make(chan committed, 1),
		telling: make(chan told, 8), silent: make(chan struct{}),
		ready: make(chan struct{}), stopping: make(chan struct{}), stopped: make(chan struct{}),
		receiving: newCancellable(), reading: newCancellable(), writing: newCancellable(),
	}
	w.standing(errNotYet)
	for _, lane := range cfg.Lanes {
		if lane < 0 || lane >= w.laneCount {
			return nil, fmt.Errorf("worker: lane %d of %d does not exist", lane, w.laneCount)
		}
	}
	return w, nil
}

var (
	errStopped = errors.New("worker: stopped")
	errNotYet  = errors.New("its lanes have not been taken yet")
)

// Start subscribes to the lanes and returns once they are held, or with the context's error when the
// store does not let it have them in time; the worker is stopped then. Of lanes that cannot be subscribed to, the
// others are worked: it goes on asking for those, and fails when it gets none.
func (w *Worker) Start(ctx context.Context) error {
	answers := make(chan error, len(w.cfg.Lanes))
	for _, lane := range w.cfg.Lanes {
		w.running.Go(func() { w.receive(lane, answers) })
	}
	go w.commit()
	go w.tell()
	w.started.Store(true)
	w.desk = newDesk(w)
	w.start(w.desk)
	w.running.Go(func() {
		w.watch()
	})
	if err := w.begun(ctx, answers); err != nil {
		return errors.Join(err, w.Stop())
	}
	return nil
}

// begun returns once the lanes are held and every lane's subscription has begun or failed, with an error when all
// have failed. Those that have begun are worked meanwhile.
func (w *Worker) begun(ctx context.Context, answers <-chan error) error {
	ready, failed := w.ready, 0
	for left := len(w.cfg.Lanes); left > 0 || ready != nil; {
		select {
		case err := <-answers:
			left--
			if err == nil {
				continue
			}
			if failed++; failed == len(w.cfg.Lanes) {
				return err
			}
		case <-ready:
			ready = nil
		case <-w.stopping:
			return errStopped
		case <-ctx.Done():
			return fmt.Errorf("worker: the lanes could not be taken: %w", context.Cause(ctx))
		}
	}
	return nil
}

// subscribeAgain is the pause after a lane could not be subscribed to.
const subscribeAgain = time.Second

// receive brings a lane's frames to the inbox, and says how the first attempt to subscribe to it ended. A queue may
// not answer while those of other lanes do, as one without a leader, and is asked again until the worker ends.
func (w *Worker) receive(lane int, first chan<- error) {
	ctx := w.receiving.ctx
	for {
		messages, err := w.cfg.Subscriber.Subscribe(ctx, bus.LaneTopic(lane))
		if err != nil {
			err = fmt.Errorf("worker: subscribe to lane %d: %w", lane, err)
		}
		if first != nil {
			first <- err
			first = nil
		}
		switch {
		case err == nil:
			w.inbox.receive(ctx, lane, messages)
			return
		case ctx.Err() != nil:
			return
		}
		w.cfg.Log.Warn("a lane is not worked; trying again", "lane", lane, "err", err)
		pause := time.NewTimer(subscribeAgain)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
	}
}

// start runs a desk. Only one that comes to its own end closes the worker's business.
func (w *Worker) start(d *desk) {
	go func() {
		defer close(d.ended)
		d.run()
		close(w.committing)
		<-w.silent
		close(w.stopped)
	}()
}

// acquired notes that the lanes are held.
func (w *Worker) acquired() {
	w.trouble.Store(nil)
	w.readyOnce.Do(func() { close(w.ready) })
}

// trouble is why the lanes are not being worked.
type trouble struct{ err error }

// standing notes that the lanes are not being worked until they are acquired again.
func (w *Worker) standing(err error) { w.trouble.Store(&trouble{err}) }

// Ready tells why the worker judges nothing at the moment: its lanes have not been taken, the store did not
// answer and is being asked again, or it is being stopped. Otherwise it is nil, also while a commit or a reading
// is under way: one that hangs shows when its time, Config.CommitTime, is over. Any goroutine may ask; it costs
// nothing.
func (w *Worker) Ready() error {
	select {
	case <-w.stopping:
		return errStopped
	default:
	}
	if t := w.trouble.Load(); t != nil {
		return fmt.Errorf("worker: %w", t.err)
	}
	return nil
}

// Stop is Shutdown with the time that one commit may take.
func (w *Worker) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), w.cfg.CommitTime)
	defer cancel()
	return w.Shutdown(ctx)
}

// Shutdown commits what has been judged, tells and acknowledges it, and returns. Nothing is read any more:
// frames that were not judged stay unacknowledged, and whoever holds the lanes next gets them. So do those
// whose commit has not ended when the context does; it is cut off then. The error says that a store or the
// code of a type did not let go even so. It is safe to call twice.
func (w *Worker) Shutdown(ctx context.Context) error {
	w.stopOnce.Do(func() {
		close(w.stopping)
		w.reading.over()
	})
	defer context.AfterFunc(ctx, w.writing.over)()
	if w.started.Load() {
		if err := w.ended(ctx); err != nil {
			w.receiving.over()
			return err
		}
	}
	w.receiving.over()
	w.running.Wait()
	return nil
}

// ended waits until everything committed has been told, but not much longer than the context lasts: as long
// as it takes to find code that does not end.
func (w *Worker) ended(ctx context.Context) error {
	select {
	case <-w.stopped:
		return nil
	case <-ctx.Done():
	}
	cutOff := time.NewTimer(2 * w.cfg.CodeTimeout)
	defer cutOff.Stop()
	select {
	case <-w.stopped:
		return nil
	case <-cutOff.C:
		return fmt.Errorf("worker: a commit or the code of a type goes on after the time to stop was over: %w", context.Cause(ctx))
	}
}
