package sqlite

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
)

// clocks are the lanes' clocks as saved last, by lane. They are kept in one value: a batch that covers all
// lanes changes one row for them, not one each.
type clocks []clock

type clock struct {
	worked time.Duration
	at     int64 // when that was, microseconds since 1970
}

// after gives the clocks after a commit with these claims.
func (c clocks) after(claims []store.Claim, now time.Time) clocks {
	moved := slices.Clone(c)
	for _, claim := range claims {
		moved[claim.Lane] = clock{worked: claim.Worked, at: now.UnixMicro()}
	}
	return moved
}

func (c clocks) encode() []byte {
	b := make([]byte, 0, len(c)*12)
	for _, lane := range c {
		b = binary.AppendVarint(b, int64(lane.worked))
		b = binary.AppendVarint(b, lane.at)
	}
	return b
}

func decodeClocks(b []byte, lanes int) (clocks, error) {
	c := make(clocks, lanes)
	for i := range c {
		worked, n := binary.Varint(b)
		if n <= 0 {
			return nil, errors.New("the lanes' clocks are damaged")
		}
		at, m := binary.Varint(b[n:])
		if m <= 0 {
			return nil, errors.New("the lanes' clocks are damaged")
		}
		c[i] = clock{worked: time.Duration(worked), at: at}
		b = b[n+m:]
	}
	return c, nil
}

// fresh is how long a saved clock is taken to have gone on by itself since. Workers save the clocks of lanes
// on which something is parked more often than that.
const fresh = 5 * time.Second

// until is when the lane's clock shows the deadline if the lane is worked from now on.
func (c clock) until(deadline time.Duration, now time.Time) time.Time {
	from := now
	if saved := time.UnixMicro(c.at); now.Sub(saved) < fresh && saved.Before(now) {
		from = saved
	}
	return from.Add(deadline - c.worked).UTC().Truncate(time.Microsecond)
}

// Acquire takes lanes over; see store.Lanes.
func (s *Store) Acquire(ctx context.Context, lanes []int, owner string) ([]store.Claim, error) {
	if err := ctx.Err(); err != nil {
		return nil, failed("acquire", err)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.ready(); err != nil {
		return nil, err
	}
	claims := make([]store.Claim, 0, len(lanes))
	for _, lane := range lanes {
		if lane < 0 || lane >= len(s.view.epochs) {
			return nil, fmt.Errorf("acquire: there is no lane %d of %d", lane, len(s.view.epochs))
		}
		claims = append(claims, store.Claim{Lane: lane, Epoch: s.view.epochs[lane] + 1, Worked: s.view.clocks[lane].worked})
	}
	err := s.writer.transaction(func() error {
		for i, claim := range claims {
			relayed, err := s.writer.relayedOf(claim.Lane)
			if err != nil {
				return failed("acquire", err)
			}
			claims[i].Relayed = relayed
			s.writer.takeLane.BindInt(1, int64(claim.Epoch))
			s.writer.takeLane.BindText(2, owner)
			s.writer.takeLane.BindInt(3, int64(claim.Lane))
			if err := s.writer.takeLane.Run(); err != nil {
				return failed("acquire", err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	for _, claim := range claims {
		s.view.epochs[claim.Lane] = claim.Epoch
	}
	return claims, nil
}
