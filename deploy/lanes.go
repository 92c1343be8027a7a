package deploy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
)

const (
	// lanesEvery is how often a process asks how many lanes there are, and says that it lives; more often
	// while the number is being changed.
	lanesEvery         = 500 * time.Millisecond
	lanesEveryChanging = 100 * time.Millisecond
	// lanesAgain is the pause after a part could not be opened.
	lanesAgain = time.Second
	// lanesLetGo is how long what was taken may take to be sent or committed when the number changes.
	lanesLetGo = 5 * time.Second
)

// The kinds of bus that a process says it uses.
const (
	busRabbitMQ  = "rabbitmq"
	busInProcess = "in process"
)

var errLanesChanging = errors.New("the number of lanes is being changed; this takes some seconds")

// laneUse has this process go by the number of lanes that the store holds, which an operator may change while
// everything runs ('doorman lanes set'). It asks for it all the time, closes what goes by another number, and
// opens it again with the new one. What it has come to it tells the store, where the operation reads it.
type laneUse struct {
	*Program
	store *postgres.Store
	hold  *postgres.Hold // nil until it is taken
	self  store.LaneUser
	parts []*lanePart

	mu       sync.Mutex
	latest   store.Laning
	heard    time.Time // when what was heard last was asked for
	err      error     // why nothing was heard since; nil when something was
	stopping bool      // nothing is opened any more

	following, beating stretch
}

// stretch is the life of goroutines that end together.
type stretch struct {
	ctx  context.Context
	over context.CancelFunc
	runs sync.WaitGroup
}

func (s *stretch) begin() { s.ctx, s.over = context.WithCancel(context.Background()) }

func (s *stretch) end() {
	s.over()
	s.runs.Wait()
}

// lanePart is something that goes by the number of lanes.
type lanePart struct {
	name  string
	quiet int                       // the step of a change that is taken when it is closed
	wants func(l store.Laning) bool // whether it is open while lanes stand like this
	open  func(ctx context.Context, l store.Laning) error
	close func(ctx context.Context) error

	// Guarded by laneUse.mu.
	opened     bool // or being opened
	generation uint64
	callBack   context.CancelFunc // ends an opening; nil when there is none
	news       chan struct{}      // holds a token when what was heard may matter to it
}

// newLaneUse is of a process whose store other processes may use too.
func (p *Program) newLaneUse(shared *postgres.Store, kind string) *laneUse {
	u := &laneUse{Program: p, store: shared}
	u.self = store.LaneUser{ID: rand.Text(), Name: owner(), Roles: strings.Join(p.config.Roles, ","), Bus: kind}
	u.following.begin()
	u.beating.begin()
	return u
}

// start opens what is to be open, and returns then. A change that is under way is no reason to wait. The parts
// are closed in their order, those that send first.
func (u *laneUse) start(ctx context.Context, parts ...*lanePart) error {
	u.parts = parts
	for _, part := range parts {
		part.news = make(chan struct{}, 1)
	}
	u.onStop("letting the lanes go", u.stop)
	if err := u.firstBeat(ctx); err != nil {
		return err
	}
	for _, part := range u.parts {
		if err := u.follow(ctx, part); err != nil {
			return err
		}
	}
	u.beating.runs.Go(u.beats)
	for _, part := range u.parts {
		u.following.runs.Go(func() { u.follows(part) })
	}
	u.metrics.read("doorman_lanes_configured", "Lanes there are, by the store.", func() int { l, _ := u.now(); return l.Lanes })
	return nil
}

// firstBeat waits for a store that does not answer at the moment, as openStore does.
func (u *laneUse) firstBeat(ctx context.Context) error {
	patient, cancel := context.WithTimeout(ctx, u.config.StoreWait)
	defer cancel()
	for {
		err := u.beat(ctx)
		if err == nil || !errors.Is(err, store.ErrUnavailable) {
			return err
		}
		if pause(patient, lanesEveryChanging); patient.Err() != nil {
			return err
		}
	}
}

// watchLanes tells an operator who wants to change the number of lanes that this process must be stopped for
// that, and ends it when the number was changed all the same. What it had judged is not committed then.
func (p *Program) watchLanes(ctx context.Context) error {
	shared, ok := p.store.(*postgres.Store)
	if !ok {
		return nil // a file that nobody else opens
	}
	u := p.newLaneUse(shared, busInProcess)
	if err := u.takeHold(ctx); err != nil {
		return err
	}
	if err := u.start(ctx); err != nil {
		return err
	}
	if l, _ := u.now(); l.Change != nil {
		return fmt.Errorf("%w: start this process again afterwards", store.ErrLanesChanging)
	}
	return nil
}

// beat says what this process has come to, and hears how lanes stand.
func (u *laneUse) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	sent := time.Now()
	err := u.store.NoteLaneUser(ctx, u.standing())
	var l store.Laning
	if err == nil {
		l, err = u.store.Laning(ctx)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err = err; err != nil {
		return err
	}
	before := u.latest
	u.latest, u.heard = l, sent
	if u.self.Bus == busInProcess && l.Generation != u.store.LaneGeneration() && !u.stopping {
		u.stopping = true // told once
		u.fail(fmt.Errorf("%w to %d while this process was running: start it again", store.ErrLanesChanged, l.Lanes))
	}
	if before.Generation != l.Generation && before.Lanes > 0 {
		u.log.Info("the number of lanes was changed", "before", before.Lanes, "lanes", l.Lanes)
		if u.config.Lanes != l.Lanes && u.config.lanesAsked() != 0 {
			u.log.Warn("this process is configured with another number of lanes and will not start again with it",
				"configured", u.config.Lanes, "lanes", l.Lanes)
		}
	}
	for _, part := range u.parts {
		if part.callBack != nil && (!part.wants(l) || part.generation != l.Generation) {
			part.callBack()
		}
		select {
		case part.news <- struct{}{}:
		default:
		}
	}
	return nil
}

// standing is what this process has come to.
func (u *laneUse) standing() store.LaneUser {
	u.mu.Lock()
	defer u.mu.Unlock()
	self := u.self
	self.Generation, self.Quiet = u.latest.Generation, store.LanesUnused
	if u.latest.Change != nil {
		self.Change = u.latest.Change.ID
	}
	for _, part := range u.parts {
		if part.opened {
			self.Quiet, self.Generation = min(self.Quiet, part.quiet-1), min(self.Generation, part.generation)
		}
	}
	return self
}

// now is how lanes stand; the error says why that is not known well enough to send anything.
func (u *laneUse) now() (store.Laning, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case time.Since(u.heard) < store.LaneLapse:
		return u.latest, nil
	case u.err != nil:
		return u.latest, u.err
	}
	return u.latest, fmt.Errorf("the store was not heard of for %s", store.LaneLapse)
}

// away tells what the store answered last; nil when it does.
func (u *laneUse) away() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// beats goes on until the end of the program.
func (u *laneUse) beats() {
	timer := time.NewTimer(lanesEvery)
	defer timer.Stop()
	for {
		select {
		case <-u.beating.ctx.Done():
			return
		case <-timer.C:
		}
		_ = u.beat(u.beating.ctx) // away tells
		every := lanesEvery
		if l, _ := u.now(); l.Change != nil {
			every = lanesEveryChanging
		}
		timer.Reset(every)
	}
}

// follows has a part follow what is heard.
func (u *laneUse) follows(part *lanePart) {
	for {
		select {
		case <-u.following.ctx.Done():
			return
		case <-part.news:
		}
		if err := u.follow(u.following.ctx, part); err != nil && u.following.ctx.Err() == nil {
			u.log.Warn("cannot go on with lanes; trying again", "part", part.name, "err", err)
			select {
			case <-u.following.ctx.Done():
			case <-time.After(lanesAgain):
			}
		}
	}
}

// follow opens or closes a part until it is as it is to be.
func (u *laneUse) follow(ctx context.Context, part *lanePart) error {
	for {
		u.mu.Lock()
		l, open := u.latest, part.opened
		wanted := !u.stopping && part.wants(l)
		switch {
		case open && (!wanted || part.generation != l.Generation):
			u.mu.Unlock()
			u.shut(ctx, part)
			continue
		case open || !wanted:
			u.mu.Unlock()
			return nil
		}
		opening, done := context.WithCancel(ctx)
		part.opened, part.generation, part.callBack = true, l.Generation, done
		u.mu.Unlock()
		err := part.open(opening, l)
		calledBack := opening.Err() != nil && ctx.Err() == nil
		done()
		u.mu.Lock()
		part.opened, part.callBack = err == nil, nil
		u.mu.Unlock()
		if err != nil && !calledBack {
			return err
		}
	}
}

// shut closes a part within its time, also when the program ends meanwhile.
func (u *laneUse) shut(ctx context.Context, part *lanePart) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lanesLetGo)
	defer cancel()
	if err := part.close(ctx); err != nil {
		u.log.Warn("lanes were let go of without ceremony", "part", part.name, "err", err)
	}
	u.mu.Lock()
	part.opened = false
	u.mu.Unlock()
}

// stop closes all parts, the ones that send first, and says that this process has ended.
func (u *laneUse) stop(ctx context.Context) error {
	u.mu.Lock()
	u.stopping = true
	u.mu.Unlock()
	u.following.end()
	var problems []error
	for _, part := range u.parts {
		if part.opened {
			problems = append(problems, part.close(ctx))
		}
	}
	u.beating.end() // until now what had been taken could be sent
	asking, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	if err := u.store.RemoveLaneUser(asking, u.self.ID); err != nil {
		u.log.Warn("this process could not say that it ends", "err", err)
	}
	return errors.Join(problems...)
}

// unchanged tells whether nobody is changing the number of lanes.
func unchanged(l store.Laning) bool { return l.Change == nil }

// unclosed tells whether lanes are worked.
func unclosed(l store.Laning) bool { return l.Change == nil || !l.Change.Closing }

// lanesAsked is the number of lanes that somebody configured; 0 when nobody did, and the store's number holds.
func (c *Config) lanesAsked() int {
	if c.source("lanes") == "default" {
		return 0
	}
	return c.Lanes
}
