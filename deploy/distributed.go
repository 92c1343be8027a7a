package deploy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/feed"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/aggregate/worker"
	"github.com/ticketed/doorman/aggregate/worker/group"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/notify"
	"github.com/ticketed/doorman/projections/catalog"
)

// mostGateways is how many gateways the bound of a lane's queue is worked out for: each may go over the
// queue's own bound by what it has in flight.
const mostGateways = 64

// laneBound is the most messages that can be queued on one lane, those that a worker has been handed included.
const laneBound = rabbitmq.DefaultMaxMessages + rabbitmq.DefaultPrefetch + mostGateways*rabbitmq.DefaultInFlight

// distributed is what a program over RabbitMQ consists of besides the store: one of several processes with
// any roles, or the only one with all of them (DESIGN section 7). What its roles do not need is nil.
//
// Where the worker is another process, who waits and who watches is told by following the log, which is
// looked at once a second: correct, and up to a second late. What this process's own worker commits is told
// at once.
type distributed struct {
	*Program
	waiters    *notify.Waiters       // of a gateway
	feed       *feed.Feed            // of a gateway or projector
	publisher  *rabbitmq.Publisher   // of a gateway
	subscriber *rabbitmq.Subscriber  // of a worker
	group      *group.Runner         // of a worker
	listing    *catalog.Catalog      // of a gateway or projector
	storeAway  atomic.Pointer[error] // what the store answered last, of a gateway; nil: it does
}

// wireDistributed is wire for processes that are connected by RabbitMQ.
func (p *Program) wireDistributed(ctx context.Context, routes *http.ServeMux) error {
	d := &distributed{Program: p}
	gateway, projector := p.config.has(RoleGateway), p.config.has(RoleProjector)
	if gateway {
		d.waiters = notify.NewWaiters(notify.WaitersConfig{Reader: p.store, Log: p.log})
		p.onStop("ending the watch over the log", func(context.Context) error { return d.waiters.Stop() })
		if err := d.waiters.Start(ctx); err != nil {
			return err
		}
	}
	if gateway || projector {
		var err error
		if d.feed, err = p.startFeed(ctx); err != nil {
			return err
		}
		if err := d.openCatalog(ctx); err != nil {
			return err
		}
	}
	if p.config.has(RoleWorker) {
		if err := d.startGroup(ctx); err != nil {
			return err
		}
	}
	p.health.checks = d.checks()
	if gateway {
		return d.startGateway(ctx, routes)
	}
	return nil
}

// openCatalog opens the catalog of streams, and keeps it up to date where that is this process's role.
func (d *distributed) openCatalog(ctx context.Context) error {
	var err error
	if d.config.has(RoleProjector) {
		d.listing, err = d.startCatalog(ctx, d.feed)
		return err
	}
	backend, err := d.openProjections(ctx)
	if err == nil {
		d.listing = catalog.New(backend)
	}
	return err
}

// startGroup works this process's share of the lanes.
func (d *distributed) startGroup(ctx context.Context) error {
	shared, ok := d.store.(*postgres.Store)
	if !ok {
		return fmt.Errorf("a %T has no list of workers to share the lanes out among", d.store)
	}
	var err error
	if d.subscriber, err = connected(ctx, d.Program, rabbitmq.NewSubscriber, d.rabbitmq()); err != nil {
		return err
	}
	d.onStop("giving back what was not judged", func(context.Context) error { return d.subscriber.Close() })
	var observe []func(store.Range, *aggregate.Result)
	if d.waiters != nil {
		observe = append(observe, d.waiters.Observe)
	}
	if d.feed != nil {
		observe = append(observe, d.feed.Observe)
	}
	d.group, err = group.New(group.Config{
		Members: shared.Members(), Name: owner(), Lanes: d.store.Identity().Lanes, Log: d.log,
		Make: func(lanes []int, fenced func()) (group.Worker, error) {
			return worker.New(worker.Config{
				Store: d.store, Types: d.types, Subscriber: d.subscriber, Lanes: lanes, Owner: owner(), Fenced: fenced,
				Limits: d.limits(), CacheStreams: d.config.CachedStreams, CacheBytes: d.config.CacheMB << 20,
				QueueBound: laneBound, Observe: observe, Metrics: d.metrics, Log: d.log,
			})
		},
	})
	if err != nil {
		return err
	}
	d.onStop("stopping the worker", d.group.Shutdown)
	d.metrics.read("doorman_lanes", "Lanes that are worked here.", func() int { return len(d.group.Lanes()) })
	return d.group.Start(ctx)
}

// startGateway takes commands and answers over HTTP.
func (d *distributed) startGateway(ctx context.Context, routes *http.ServeMux) error {
	config := d.rabbitmq()
	for lane := range d.store.Identity().Lanes {
		config.Topics = append(config.Topics, bus.LaneTopic(lane))
	}
	var err error
	if d.publisher, err = connected(ctx, d.Program, rabbitmq.NewPublisher, config); err != nil {
		return err
	}
	d.onStop("closing the bus", func(context.Context) error { return d.publisher.Close() })
	sender, err := bus.NewSender(d.publisher, bus.SenderConfig{Lanes: d.store.Identity().Lanes})
	if err != nil {
		return err
	}
	d.onStop("handing over what was accepted", sender.Close)
	d.watchStore()
	return d.serveClients(ctx, clients{sender, d.waiters, d.feed, d.listing, d.taking}, routes)
}

// rabbitmq is how this process uses the broker.
func (d *distributed) rabbitmq() rabbitmq.Config {
	config := d.config.rabbitmq()
	config.Logger = d.log
	return config
}

// connected connects to the broker, and waits for one that does not answer yet, as openStore does for the
// store. One that refuses is told at once.
func connected[T any](
	ctx context.Context, p *Program, connect func(context.Context, rabbitmq.Config) (T, error), config rabbitmq.Config,
) (T, error) {
	patient, cancel := context.WithTimeout(ctx, p.config.StoreWait)
	defer cancel()
	for {
		made, err := connect(patient, config)
		switch {
		case err == nil:
			return made, nil
		case ctx.Err() != nil:
			return made, context.Cause(ctx)
		case patient.Err() != nil:
			return made, fmt.Errorf("RabbitMQ (%s) did not answer within %s: %w",
				mask(p.config.RabbitMQURL), durationText(p.config.StoreWait), err)
		case !errors.Is(err, context.DeadlineExceeded):
			return made, fmt.Errorf("RabbitMQ (%s): %w", mask(p.config.RabbitMQURL), err)
		}
		p.log.Warn("RabbitMQ does not answer; trying again for a while", "rabbitmq", mask(p.config.RabbitMQURL),
			"store_wait", durationText(p.config.StoreWait), "err", err)
	}
}

// checks are the parts that the roles of this process need to be ready (DESIGN section 3): a gateway is,
// workers or not.
func (d *distributed) checks() []check {
	all := []check{{"store", d.store.Ping}, {"bus", d.busReady}}
	if d.group != nil {
		all = append(all, check{"worker", func(context.Context) error { return d.group.Ready() }})
	}
	return all
}

func (d *distributed) busReady(context.Context) error {
	if d.publisher != nil {
		if err := d.publisher.Ready(); err != nil {
			return err
		}
	}
	if d.subscriber != nil {
		return d.subscriber.Ready()
	}
	return nil
}

// taking tells, without asking anybody, why no commands are taken at the moment: the bus or the store is
// away. A worker's absence is no reason: what the bus has confirmed waits for one.
func (d *distributed) taking() error {
	if away := d.storeAway.Load(); away != nil {
		return *away
	}
	return d.publisher.Ready()
}

// storeEvery is how often a gateway asks the store whether it answers: no commit of its own would tell.
const storeEvery = time.Second

// watchStore keeps what taking tells of the store.
func (d *distributed) watchStore() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(storeEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			asking, done := context.WithTimeout(ctx, probeTime)
			err := d.store.Ping(asking)
			done()
			if err == nil {
				d.storeAway.Store(nil)
			} else {
				d.storeAway.Store(&err)
			}
		}
	}()
	d.onStop("ending the watch over the store", func(context.Context) error {
		cancel()
		<-ended
		return nil
	})
}
