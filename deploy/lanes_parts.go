package deploy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/worker/group"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/commands"
)

// pastLanesFor is for how long messages for an earlier number of lanes may still come. A connection to the
// broker on which a gateway has been silent is cut within half a minute.
const pastLanesFor = 10 * time.Minute

// lanesOf is how this process uses the broker for a generation of lanes: each has queues of its own, so that
// what was sent for another one is not taken for its own. Those of the first one have no number.
func (c *Config) lanesOf(generation uint64, lanes int) rabbitmq.Config {
	config := c.rabbitmq()
	if generation > 0 {
		config.Prefix += ".g" + strconv.FormatUint(generation, 10)
	}
	for lane := range lanes {
		config.Topics = append(config.Topics, bus.LaneTopic(lane))
	}
	return config
}

// commandSender takes commands to the bus, as *bus.Sender does.
type commandSender interface {
	Send(env *commands.Envelope, done func(error))
	SendAll(envs []*commands.Envelope, done func(i int, err error))
	Withdraw(envs ...*commands.Envelope)
	Pending() int
}

var (
	_ commandSender = (*bus.Sender)(nil)
	_ commandSender = (*door)(nil)
)

// door is the sender of a process while the number of lanes is one and the same; it is closed while that
// changes, and opens with another one.
type door struct {
	program *Program
	current atomic.Pointer[opening] // nil while it is closed
	lanes   *laneUse
	via     string // names this gateway to workers
}

// opening is the door open.
type opening struct {
	publisher *rabbitmq.Publisher
	sender    *bus.Sender
}

var errDoorClosed = fmt.Errorf("%w: %w", bus.ErrUnavailable, errLanesChanging)

// open connects to the broker and sends on lanes from then on.
func (d *door) open(ctx context.Context, l store.Laning) error {
	config := d.program.config.lanesOf(l.Generation, l.Lanes)
	config.Logger, config.Metrics = d.program.log, d.program.metrics.overRabbitMQ()
	o := &opening{}
	var err error
	if o.publisher, err = connected(ctx, d.program, rabbitmq.NewPublisher, config); err != nil {
		return err
	}
	// A process that froze must not send on lanes that have changed meanwhile when it wakes up.
	guarded := bus.Guarded(o.publisher, func() error {
		now, err := d.lanes.now()
		if err == nil && now.Generation != l.Generation {
			err = errLanesChanging
		}
		return err
	})
	sending := bus.SenderConfig{Lanes: l.Lanes, Via: d.via, Window: sendWindow, FrameTime: frameTime}
	if o.sender, err = bus.NewSender(guarded, sending); err != nil {
		return errors.Join(err, o.publisher.Close())
	}
	d.current.Store(o)
	return nil
}

// sendWindow is how many frames a gateway has under way to the broker at most, of all lanes together, and frameTime
// what narrows that where the broker is quick (bus.SenderConfig). With a bound on each lane alone, frames were of one or
// two commands under load, and what the broker costs it costs per message: 8 of all lanes landed a quarter to a third
// more on 2 cores, and narrowing that spares another 5 to 10 % of a command's cost, also where a queue is bound to all
// events. A fixed bound of 2 would cost a tenth more there (doorman bench --serve rabbitmq). A broker that confirms
// after 40 ms has 8 under way.
const (
	sendWindow = 8
	frameTime  = 5 * time.Millisecond
)

// close returns once everything that was taken has been answered.
func (d *door) close(ctx context.Context) error {
	o := d.current.Swap(nil)
	if o == nil {
		return nil
	}
	return errors.Join(o.sender.Close(ctx), o.publisher.Close())
}

// Ready tells why nothing can be sent at the moment; nil when it can.
func (d *door) Ready() error {
	o := d.current.Load()
	if o == nil {
		return errDoorClosed
	}
	if _, err := d.lanes.now(); err != nil {
		return err
	}
	return o.publisher.Ready()
}

// Send is that of bus.Sender, as are the others.
func (d *door) Send(env *commands.Envelope, done func(error)) {
	if o := d.current.Load(); o != nil {
		o.sender.Send(env, done)
		return
	}
	done(errDoorClosed)
}

// SendAll refuses all while the door is closed.
func (d *door) SendAll(envs []*commands.Envelope, done func(i int, err error)) {
	if o := d.current.Load(); o != nil {
		o.sender.SendAll(envs, done)
		return
	}
	for i := range envs {
		done(i, errDoorClosed)
	}
}

// Withdraw takes nothing back while the door is closed: everything was answered.
func (d *door) Withdraw(envs ...*commands.Envelope) {
	if o := d.current.Load(); o != nil {
		o.sender.Withdraw(envs...)
	}
}

// Pending is none while the door is closed.
func (d *door) Pending() int {
	if o := d.current.Load(); o != nil {
		return o.sender.Pending()
	}
	return 0
}

// crew is this process's worker while the number of lanes is one and the same.
type crew struct {
	program *Program
	adopt   func(store.Laning)
	make    func(subscriber *rabbitmq.Subscriber, lanes int) (*group.Runner, error)

	mu         sync.Mutex
	subscriber *rabbitmq.Subscriber
	runner     *group.Runner
}

func (c *crew) open(ctx context.Context, l store.Laning) error {
	c.adopt(l)
	config := c.program.config.lanesOf(l.Generation, l.Lanes)
	config.Logger, config.Metrics = c.program.log, c.program.metrics.overRabbitMQ()
	subscriber, err := connected(ctx, c.program, rabbitmq.NewSubscriber, config)
	if err != nil {
		return err
	}
	runner, err := c.make(subscriber, l.Lanes)
	if err != nil {
		return errors.Join(err, subscriber.Close())
	}
	c.mu.Lock()
	c.subscriber, c.runner = subscriber, runner
	c.mu.Unlock()
	if err := runner.Start(ctx); err != nil {
		return errors.Join(err, c.close(context.WithoutCancel(ctx)))
	}
	return nil
}

// close leaves the others the lanes, commits what was judged and gives the rest back.
func (c *crew) close(ctx context.Context) error {
	c.mu.Lock()
	subscriber, runner := c.subscriber, c.runner
	c.subscriber, c.runner = nil, nil
	c.mu.Unlock()
	if runner == nil {
		return nil
	}
	return errors.Join(runner.Shutdown(ctx), subscriber.Close())
}

// now is what there is, nil while the number of lanes changes.
func (c *crew) now() (*rabbitmq.Subscriber, *group.Runner) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subscriber, c.runner
}

// Ready tells why no lanes are worked here although they should be.
func (c *crew) Ready() error {
	if _, runner := c.now(); runner != nil {
		return runner.Ready()
	}
	return errLanesChanging
}

// Lanes is how many are worked here.
func (c *crew) Lanes() int {
	if _, runner := c.now(); runner != nil {
		return len(runner.Lanes())
	}
	return 0
}

// latecomers sends on what comes for earlier numbers of lanes all the same: from a gateway that was frozen
// while the number changed. Of all processes one at a time does it, for each lane.
type latecomers struct {
	program *Program
	door    *door
	lanes   *laneUse
	keep    time.Duration // see pastLanesFor
	running *stretch
}

// wanted tells whether there is anything to wait for.
func (c *latecomers) wanted(l store.Laning) bool { return l.Change == nil && len(l.Past) > 0 }

func (c *latecomers) open(ctx context.Context, l store.Laning) error {
	if err := c.door.open(ctx, l); err != nil {
		return err
	}
	c.running = &stretch{}
	c.running.begin()
	for _, past := range l.Past {
		c.running.runs.Go(func() { c.attend(c.running.ctx, past) })
	}
	return nil
}

func (c *latecomers) close(ctx context.Context) error {
	if c.running == nil {
		return nil
	}
	c.running.end()
	c.running = nil
	return c.door.close(ctx)
}

// attend sends on for as long as something may come, and then deletes the queues.
func (c *latecomers) attend(ctx context.Context, past store.PastLaning) {
	config := c.program.config.lanesOf(past.Generation, past.Lanes)
	config.Logger, config.Metrics = c.program.log, c.program.metrics.overRabbitMQ()
	for wait := max(c.keep-past.Since, 0); ctx.Err() == nil; wait = min(c.keep, time.Minute) {
		if wait > 0 {
			if err := c.forward(ctx, config, wait); err != nil && ctx.Err() == nil {
				c.program.log.Warn("cannot look for late frames; trying again", "generation", past.Generation, "err", err)
				pause(ctx, lanesAgain)
				continue
			}
		}
		left, err := rabbitmq.DeleteUnused(ctx, config)
		if err == nil && left == 0 {
			err = c.lanes.store.RetireLanes(ctx, past.Generation)
		}
		if err != nil && ctx.Err() == nil {
			c.program.log.Warn("cannot retire an earlier number of lanes; trying again",
				"generation", past.Generation, "err", err)
		}
		if err == nil && left == 0 {
			c.program.log.Info("the queues of an earlier number of lanes were deleted", "generation", past.Generation, "lanes", past.Lanes)
			return
		}
	}
}

// forward sends on for a while.
func (c *latecomers) forward(ctx context.Context, config rabbitmq.Config, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	subscriber, err := rabbitmq.NewSubscriber(ctx, config)
	if err != nil {
		return err
	}
	o := c.door.current.Load()
	f := bus.Forwarder{From: subscriber, To: o.sender, Raw: o.publisher, Log: c.program.log}
	problems := make(chan error, len(config.Topics))
	var running sync.WaitGroup
	for _, topic := range config.Topics {
		running.Go(func() {
			if err := f.Forward(ctx, topic); err != nil {
				problems <- err
				cancel()
			}
		})
	}
	running.Wait()
	close(problems)
	return errors.Join(<-problems, subscriber.Close())
}

// pause passes time, less when the context ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
