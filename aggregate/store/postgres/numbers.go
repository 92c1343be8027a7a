package postgres

import (
	"context"
	"sync"
)

// numberBlock is how many stream numbers one value of the sequence stands for, as its comment in
// migrations/00001_tables.sql says.
const numberBlock = 1024

// numbers hands out numbers for new streams without asking the database for each. Those that are not
// used are lost, as are those of a block when a process ends: there are 2^63.
type numbers struct {
	pool *pool
	mu   sync.Mutex
	at   int64
	end  int64
}

var nextBlock = &statement{"next_block", `select nextval('stream_blocks')`}

func (n *numbers) next(ctx context.Context) (int64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.at == n.end {
		err := n.pool.query(ctx, nextBlock, func(r row) error {
			n.at = r.int64(0) * numberBlock
			n.end = n.at + numberBlock
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	number := n.at
	n.at++
	return number, nil
}
