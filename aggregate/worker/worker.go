package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ticketed/doorman/bus"
)

// Worker holds lanes: it judges their commands and commits what comes of them.
type Worker struct {
	cfg       Config
	laneCount int

	inbox *inbox
	desk  *desk // the one in charge; changed by watch only
	stuck stuck

	orders     chan *order
	committing chan work
	commits    chan committed
	telling    chan told
	silent     chan struct{} // closed when everything committed has been told

	ready     chan struct{} // closed when the lanes are held for the first time
	readyOnce sync.Once
	ctx       context.Context // of reads and the subscription
	cancel    context.CancelFunc
	stopping  chan struct{}
	stopOnce  sync.Once
	stopped   chan struct{}
	started   atomic.Bool
	running   sync.WaitGroup
}

// New makes a worker; nothing runs until Start.
func New(cfg Config) (*Worker, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	w := &Worker{
		cfg: cfg, laneCount: cfg.Store.Identity().Lanes, inbox: newInbox(),
		orders: make(chan *order), committing: make(chan work, 1), commits: make(chan committed, 1),
		telling: make(chan told, 8), silent: make(chan struct{}),
		ready: make(chan struct{}), stopping: make(chan struct{}), stopped: make(chan struct{}),
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	for _, lane := range cfg.Lanes {
		if lane < 0 || lane >= w.laneCount {
			return nil, fmt.Errorf("worker: lane %d of %d does not exist", lane, w.laneCount)
		}
	}
	return w, nil
}

var errStopped = errors.New("worker: stopped")

// Start subscribes to the lanes and returns once they are held, or with the context's error when the
// store does not let it have them in time; the worker is stopped then.
func (w *Worker) Start(ctx context.Context) error {
	for _, lane := range w.cfg.Lanes {
		messages, err := w.cfg.Subscriber.Subscribe(w.ctx, bus.LaneTopic(lane))
		if err != nil {
			return errors.Join(fmt.Errorf("worker: subscribe to lane %d: %w", lane, err), w.Stop())
		}
		w.running.Go(func() {
			w.inbox.receive(w.ctx, lane, messages)
		})
	}
	go w.commit()
	go w.tell()
	w.started.Store(true)
	w.desk = newDesk(w)
	w.start(w.desk)
	w.running.Go(func() {
		w.watch()
	})
	select {
	case <-w.ready:
		return nil
	case <-w.stopping:
		return errStopped
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("worker: the lanes could not be taken: %w", context.Cause(ctx)), w.Stop())
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
func (w *Worker) acquired() { w.readyOnce.Do(func() { close(w.ready) }) }

// Stop commits what has been judged, tells and acknowledges it, and returns. Frames that were not
// judged stay unacknowledged. It is safe to call twice.
func (w *Worker) Stop() error {
	w.stopOnce.Do(func() { close(w.stopping) })
	if w.started.Load() {
		<-w.stopped
	}
	w.cancel()
	w.running.Wait()
	return nil
}
