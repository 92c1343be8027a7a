package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/feed"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/aggregate/worker"
	"github.com/ticketed/doorman/aggregate/worker/group"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/notify"
	"github.com/ticketed/doorman/projections/catalog"
)

// mostGateways is how many gateways the bound of a lane's queue is worked out for: each may go over the
// queue's own bound by what it has in flight.
const mostGateways = 64

// laneBound is the most messages that can be queued on one lane, those that a worker has been handed included.
const laneBound = rabbitmq.DefaultMaxMessages + rabbitmq.DefaultPrefetch + mostGateways*rabbitmq.DefaultInFlight

// heldBack is after what time at most the broker gives back what a frozen worker holds (DESIGN section 7).
const heldBack = 15 * time.Second

// distributed is what a program over RabbitMQ consists of besides the store: one of several processes with
// any roles, or the only one with all of them (DESIGN section 7). What its roles do not need is nil.
//
// What this process's own worker commits is told to those who wait and watch here without a detour, what others
// commit over the live tail, and what neither tells is found in the log, which is looked at once a second.
type distributed struct {
	*Program
	tail    *liveTail
	waiters *notify.Waiters  // of a gateway
	feed    *feed.Feed       // of a gateway or projector
	lanes   *laneUse         // of a gateway or worker
	door    *door            // of a gateway
	crew    *crew            // of a worker
	listing *catalog.Catalog // of a gateway or projector
}

// wireDistributed is wire for processes that are connected by RabbitMQ.
func (p *Program) wireDistributed(ctx context.Context, routes *http.ServeMux) error {
	d := &distributed{Program: p}
	gateway, projector := p.config.has(RoleGateway), p.config.has(RoleProjector)
	config := p.config.rabbitmq()
	config.Logger, config.Metrics = p.log, p.metrics.overRabbitMQ()
	shared, ok := p.store.(*postgres.Store)
	if !ok {
		return fmt.Errorf("a %T is not for several processes", p.store)
	}
	d.lanes = d.newLaneUse(shared, busRabbitMQ)
	err := d.lanes.takeHold(ctx)
	if err != nil {
		return err
	}
	if gateway || p.config.has(RoleWorker) { // a projector needs no broker, and takes nothing that is of another log
		if err := p.claimPrefix(ctx, config); err != nil {
			return err
		}
	}
	if d.tail, err = p.newLiveTail(config); err != nil {
		return err
	}
	if gateway {
		d.waiters = notify.NewWaiters(notify.WaitersConfig{Reader: p.store, Interest: d.tail.interests, Log: p.log})
		p.onStop("ending the watch over the log", func(context.Context) error { return d.waiters.Stop() })
		if err := d.waiters.Start(ctx); err != nil {
			return err
		}
	}
	if gateway || projector {
		if d.feed, err = p.startFeed(ctx); err != nil {
			return err
		}
		if projector {
			d.tail.interests.Everything()
		}
		if err := d.tail.listen(ctx, d.feed, d.waiters); err != nil {
			return err
		}
		if err := d.openCatalog(ctx); err != nil {
			return err
		}
	}
	if err := d.startLanes(ctx, config); err != nil {
		return err
	}
	p.health.checks = d.checks()
	if !gateway {
		return nil
	}
	err = d.serveClients(ctx, clients{d.door, d.waiters, d.feed, watchedHere{d.tail.interests, d.feed}, d.listing, d.taking}, routes)
	if err != nil {
		return err
	}
	return d.startIngress(ctx, config)
}

// claimPrefix sees to it that the names on the broker are those of this process's log alone, before anything is
// sent or taken there: over the same names, gateways on one database and workers on another would go together.
func (p *Program) claimPrefix(ctx context.Context, config rabbitmq.Config) error {
	_, err := connected(ctx, p, func(ctx context.Context, config rabbitmq.Config) (struct{}, error) {
		return struct{}{}, rabbitmq.Claim(ctx, config, p.store.Identity().Epoch)
	}, config)
	if other := new(rabbitmq.ClaimedError); errors.As(err, &other) {
		return fmt.Errorf("%w, and this process's log (%s) has epoch %s: set rabbitmq_prefix to another one; or, if the "+
			"other log is no more (restored or reset), delete the queues of this prefix, %s the last",
			err, p.config.storeName(), p.store.Identity().Epoch, other.Queue)
	}
	return err
}

// startLanes takes commands to the lanes and works this process's share of them, as its roles are, with
// whatever number of lanes there is.
func (d *distributed) startLanes(ctx context.Context, config rabbitmq.Config) error {
	shared := d.lanes.store
	var parts []*lanePart
	if d.config.has(RoleGateway) {
		d.door = &door{program: d.Program, lanes: d.lanes, via: d.tail.id.String()}
		parts = append(parts, &lanePart{
			name: "sending", quiet: store.LanesUnsent, wants: unchanged, open: d.door.open, close: d.door.close,
		})
	}
	if d.config.has(RoleWorker) {
		late := &latecomers{program: d.Program, door: &door{program: d.Program, lanes: d.lanes}, lanes: d.lanes,
			keep: cmp.Or(d.config.pastLanes, pastLanesFor)}
		announce, err := d.tail.announcer(ctx)
		if err != nil {
			return err
		}
		publishing, err := d.newRelaying(ctx, config)
		if err != nil {
			return err
		}
		d.crew = &crew{program: d.Program, adopt: shared.Adopt, make: d.newGroup(shared, publishing, announce)}
		d.metrics.read("doorman_lanes", "Lanes that are worked here.", d.crew.Lanes)
		parts = append(parts,
			&lanePart{name: "late frames", quiet: store.LanesUnsent, wants: late.wanted, open: late.open, close: late.close},
			&lanePart{name: "working", quiet: store.LanesUnused, wants: unclosed, open: d.crew.open, close: d.crew.close})
	}
	return d.lanes.start(ctx, parts...)
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

// newGroup makes this process's part in the group of workers.
func (d *distributed) newGroup(
	shared *postgres.Store, publishing *relaying, announce func(store.Range, *aggregate.Result),
) func(*rabbitmq.Subscriber, int) (*group.Runner, error) {
	observe := []func(store.Range, *aggregate.Result){announce}
	if d.waiters != nil {
		// Ahead of the feed, from which they hear that nothing lies in between: told so here, they would take what
		// others commit for missed, and look for everybody in the store once a second.
		observe = append(observe, func(_ store.Range, result *aggregate.Result) { d.waiters.Tell(result) })
	}
	if d.feed != nil {
		observe = append(observe, d.feed.Observe)
	}
	return func(subscriber *rabbitmq.Subscriber, lanes int) (*group.Runner, error) {
		return group.New(group.Config{
			Members: shared.Members(), Name: owner(), Lanes: lanes, Log: d.log,
			Make: func(lanes []int, fenced func()) (group.Worker, error) {
				return publishing.worker(worker.Config{
					Store: d.store, Types: d.types, Subscriber: subscriber, HeldBack: heldBack,
					Consuming: func(lane int) (time.Time, error) {
						// A broker that is short of memory goes on delivering, and takes nothing that is waited for.
						if err := publishing.exchanges.Ready(); err != nil {
							return time.Time{}, err
						}
						return subscriber.Consuming(bus.LaneTopic(lane))
					},
					Lanes: lanes, Owner: owner(), Fenced: fenced,
					Suspect: func(ctx context.Context, id commands.ID) (int, error) {
						return shared.Suspect(ctx, id, d.lanes.self.ID)
					},
					Limits: d.limits(), CacheStreams: d.config.CachedStreams, CacheBytes: d.config.CacheMB << 20,
					QueueBound: laneBound, Observe: observe, Metrics: d.metrics, Log: d.log,
				})
			},
		})
	}
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
	if d.crew != nil {
		all = append(all, check{"worker", func(context.Context) error { return d.crew.Ready() }})
	}
	return all
}

// busReady is about the connections there are; while the number of lanes changes there are none, which is no
// reason to send clients elsewhere.
func (d *distributed) busReady(context.Context) error {
	if d.door != nil {
		if o := d.door.current.Load(); o != nil {
			if err := o.publisher.Ready(); err != nil {
				return err
			}
		} else if l, _ := d.lanes.now(); l.Change == nil {
			return errors.New("the connection for sending is being made")
		}
	}
	if d.crew != nil {
		if subscriber, _ := d.crew.now(); subscriber != nil {
			return subscriber.Ready()
		}
	}
	return nil
}

// taking tells, without asking anybody, why no commands are taken at the moment: the bus or the store is
// away, or the number of lanes is being changed. A worker's absence is no reason: what the bus has confirmed
// waits for one.
func (d *distributed) taking() error {
	if away := d.lanes.away(); away != nil {
		return away
	}
	return d.door.Ready()
}
