package group

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// Lapse is how long a member counts as living after it was seen.
	Lapse = 3500 * time.Millisecond
	// Cut is how long one does whose connection to the list has ended since: two renewals, so that one that lives can
	// be seen over another connection.
	Cut = 1500 * time.Millisecond
)

// Member is one worker process.
type Member struct {
	ID   string // nobody else's, and another one after each start
	Name string // for people to read
}

// Members is the list of those that live, one for all processes of one store. Its methods may be called
// from many goroutines at once, and return when the context ends.
//
// A member lives from its first Renew until it has Left or was not seen for [Lapse], counted by one clock
// for all; a list that hears of it when a process ends need wait for [Cut] only. It keeps its place in the list
// for as long as it lives; when it comes back it is the newest.
//
// Any error means that nothing is known: whether it was seen, or who lives. It is to be asked again.
type Members interface {
	// Renew says that this member lives, and returns all that do, itself included, in the order in which
	// they joined. Those that renew while nobody joins, leaves or lapses get the same list.
	Renew(ctx context.Context, self Member) ([]Member, error)
	// Leave takes a member off the list. One that is not on it is fine.
	Leave(ctx context.Context, id string) error
}

// Memory is a list for members within one process: for tests.
type Memory struct {
	Now func() time.Time // time.Now when nil

	mu   sync.Mutex
	list []entry // in order of joining
}

type entry struct {
	Member
	seen time.Time
}

var _ Members = (*Memory)(nil)

// Renew is that of Members.
func (m *Memory) Renew(ctx context.Context, self Member) ([]Member, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.Now != nil {
		now = m.Now()
	}
	m.list = slices.DeleteFunc(m.list, func(e entry) bool { return now.Sub(e.seen) >= Lapse })
	at := slices.IndexFunc(m.list, func(e entry) bool { return e.ID == self.ID })
	if at < 0 {
		at = len(m.list)
		m.list = append(m.list, entry{})
	}
	m.list[at] = entry{self, now}
	living := make([]Member, len(m.list))
	for i, e := range m.list {
		living[i] = e.Member
	}
	return living, nil
}

// Leave is that of Members.
func (m *Memory) Leave(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = slices.DeleteFunc(m.list, func(e entry) bool { return e.ID == id })
	return nil
}
