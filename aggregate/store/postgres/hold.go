package postgres

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ticketed/doorman/aggregate/store"
)

// HeldError says that other processes hold the store, so that this one cannot.
type HeldError struct {
	By    string // for people to read
	Alone bool   // there is one, and it holds the store alone
}

func (e *HeldError) Error() string { return "the store is held by " + e.By }

// Hold says of a process that it uses the store, alone or together with others that do so by the same bus: a lock of a
// session of its own. The server drops it when the process dies, at once, or within some ten seconds after its machine
// did. It guards nothing: a claim to lanes does. It is for telling a process that is one too many so.
//
// A hold is used by one goroutine at a time.
type Hold struct {
	session *pgx.ConnConfig
	key     int64
	alone   bool
	bus     string    // as session names tell it
	conn    *pgx.Conn // nil while nothing is held
}

const (
	// holdPrefix begins the application names of sessions that hold a store. What follows is nobody else's, then what is
	// the same for all that hold it together, and then the name of the process.
	holdPrefix = "doorman hold "
	holdTag    = 10
	holdBus    = 6
)

// NewHold is for a process of that name; Keep takes it. Those that say the same of their bus hold the store together,
// those that say nothing of it alone.
func (s *Store) NewHold(name, bus string) (*Hold, error) {
	pool, err := s.config.pool(1)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(bus))
	h := &Hold{session: pool.ConnConfig, alone: bus == "", bus: hex.EncodeToString(sum[:holdBus/2])}
	name = holdPrefix + rand.Text()[:holdTag] + h.bus + " " + name
	h.session.RuntimeParams["application_name"] = name[:min(len(name), 63)]
	hash := fnv.New64a()
	hash.Write([]byte("doorman's hold on " + s.config.Schema))
	h.key = int64(hash.Sum64())
	return h, nil
}

const (
	// noticeSoon has the server notice within ten seconds that the machine of its client is gone. By default it takes two
	// hours for that.
	noticeSoon = `set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 1; set tcp_keepalives_count = 5`

	tryLock = `select case when $2 then pg_try_advisory_lock($1) else pg_try_advisory_lock_shared($1) end`

	// whoHolds gives each other holder's session, whether it holds alone, and whether it was this session's predecessor,
	// which it ends.
	whoHolds = `
select coalesce(a.application_name, ''), l.mode = 'ExclusiveLock',
       coalesce(a.application_name = current_setting('application_name') and pg_terminate_backend(l.pid), false)
  from pg_locks l
  left join pg_stat_activity a on a.pid = l.pid
 where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and l.pid <> pg_backend_pid()
   and l.database = (select oid from pg_database where datname = current_database())
   and (l.classid::bigint << 32 | l.objid::bigint) = $1`
)

// Keep takes the hold, and takes it anew when its session was lost, as when the server was restarted. It fails with a
// *HeldError when others have it, and with store.ErrUnavailable when that is not known. Of two that come in the same moment
// with different buses both may fail, so one failure says little to who had it.
func (h *Hold) Keep(ctx context.Context) error {
	if h.conn != nil && h.conn.Ping(ctx) == nil {
		return nil
	}
	err := h.connect(ctx)
	if err == nil {
		err = h.apart(ctx) // before it is taken, so that nobody sees that who is turned away
	}
	if err == nil {
		err = h.lock(ctx)
	}
	if err == nil {
		err = h.apart(ctx)
	}
	if err != nil {
		h.close()
	}
	return err
}

// Look fails as Keep does while others have the store, and takes nothing.
func (h *Hold) Look(ctx context.Context) error {
	defer h.close()
	if err := h.connect(ctx); err != nil {
		return err
	}
	return h.apart(ctx)
}

func (h *Hold) connect(ctx context.Context) error {
	h.close()
	conn, err := pgx.ConnectConfig(ctx, h.session.Copy())
	if err != nil {
		return failure("connect to hold the store", err)
	}
	h.conn = conn
	if _, err := conn.Exec(ctx, noticeSoon); err != nil {
		return failure("hold the store", err)
	}
	return nil
}

func (h *Hold) lock(ctx context.Context) error {
	var taken bool
	if err := h.conn.QueryRow(ctx, tryLock, h.key, h.alone).Scan(&taken); err != nil {
		return failure("hold the store", err)
	}
	if taken {
		return nil
	}
	err := h.heldBy(ctx, func(string) bool { return true })
	if errors.Is(err, errNobody) {
		return fmt.Errorf("%w: postgres: %w", store.ErrUnavailable, errJustReleased)
	}
	return err
}

// apart fails when others hold the store with whom this one cannot.
func (h *Hold) apart(ctx context.Context) error {
	err := h.heldBy(ctx, func(bus string) bool { return h.alone || bus != "" && bus != h.bus })
	if errors.Is(err, errNobody) {
		return nil
	}
	return err
}

// Release gives the hold up.
func (h *Hold) Release(ctx context.Context) {
	if h.conn != nil {
		_, _ = h.conn.Exec(ctx, `select pg_advisory_unlock_all()`) // it ends with the session in any case
	}
	h.close()
}

func (h *Hold) close() {
	if h.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = h.conn.Close(ctx) // there is nothing left to say
	h.conn = nil
}

// heldBy makes an error of who holds the store, of those whose bus is asked for; errNobody when none of them does. A
// session that this process had before, and of which the server has not noticed yet that it is over, is ended.
func (h *Hold) heldBy(ctx context.Context, wanted func(bus string) bool) error {
	rows, _ := h.conn.Query(ctx, whoHolds, h.key) // what is wrong is told by the rows
	var held HeldError
	var names []string
	var session string
	var alone, ours bool
	_, err := pgx.ForEachRow(rows, []any{&session, &alone, &ours}, func() error {
		if bus, name := holder(session); !ours && wanted(bus) {
			names, held.Alone = append(names, name), alone
		}
		return nil
	})
	if err != nil {
		return failure("ask who holds the store", err)
	}
	if names == nil {
		return errNobody
	}
	slices.Sort(names)
	held.By = strings.Join(names, ", ")
	return &held
}

var (
	errNobody       = errors.New("nobody holds the store")
	errJustReleased = errors.New("the store is being released")
)

// holder is what the name of a session tells of a process.
func holder(session string) (bus, name string) {
	tagged, ok := strings.CutPrefix(session, holdPrefix)
	tag, name, named := strings.Cut(tagged, " ")
	if !ok || !named || len(tag) < holdTag {
		return "", "a process whose name is not shown"
	}
	return tag[holdTag:], name
}
