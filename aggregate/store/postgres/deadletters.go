package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/record"
	"github.com/ticketed/doorman/commands"
)

// buryLetters calls the function of migrations/00011_bury.sql.
var buryLetters = &statement{"bury_letters", `
select numbers, gone from bury_letters($1, $2, $3, $4, $5, $6, $7, $8, $9, $12::bigint * interval '1 microsecond', $10, $11)`}

// Bury keeps letters that no batch brings; see store.DeadLetters. Commits must not wait behind it, so it uses the
// connections for reading.
func (s *Store) Bury(ctx context.Context, letters []store.DeadLetter) (gone int, err error) {
	if len(letters) == 0 {
		return 0, nil
	}
	var columns [9]column
	for i, element := range []uint32{pgtype.TimestamptzOID, pgtype.TextOID, pgtype.UUIDOID, pgtype.TextOID, pgtype.TextOID,
		pgtype.ByteaOID, pgtype.ByteaOID, pgtype.UUIDOID, pgtype.BoolOID} {
		columns[i].start(element, len(letters))
	}
	at, origin, id, name, reason, cause, body := &columns[0], &columns[1], &columns[2], &columns[3], &columns[4], &columns[5], &columns[6]
	key, again := &columns[7], &columns[8]
	for i := range letters {
		letter, err := letters[i].Bounded()
		if err != nil {
			return 0, fmt.Errorf("postgres: %w", err)
		}
		at.time(letter.At)
		origin.text(string(letter.Origin))
		reason.text(string(letter.Reason))
		cause.text(letter.Cause)
		if letter.Key == commands.None {
			key.null()
		} else {
			key.id(letter.Key)
		}
		again.bool(letter.Again && letter.Key != commands.None)
		if letter.Message != nil {
			id.id(commands.None)
			name.text("")
			body.built(func(into []byte) []byte { return record.AppendMessage(into, letter.Message) })
			continue
		}
		id.id(letter.Envelope.ID)
		name.name(letter.Envelope.Stream)
		body.built(func(into []byte) []byte { return record.AppendEnvelope(into, letter.Envelope) })
	}
	executed := false
	err = s.reads.query(ctx, buryLetters, func(r row) error {
		for i, numbers := 0, r.list(0); i < len(letters); i++ {
			letters[i].N = numbers.uint64(i)
		}
		gone, executed = int(r.int64(1)), true
		return nil
	}, at.b, origin.b, id.b, name.b, reason.b, cause.b, body.b, key.b, again.b,
		numberParam(s.config.maxRefused), numberParam(s.config.maxRefusedBytes), numberParam(uint64(store.AgainWithin.Microseconds())))
	if err != nil {
		return 0, commitFailure(err, executed)
	}
	return gone, nil
}

// The columns of a letter, the large ones whole or, as there are two more parameters, their beginnings.
const (
	letterStart = `
select n, at, id, name, reason, origin, told, resolution, decided_at, decided_by, why, retried_as, `
	wholeLetter = letterStart + `cause, body`
	shortLetter = letterStart + `substring(cause for $1::integer), substring(body for $2::integer)`
)

var readLetter = &statement{"read_letter", wholeLetter + ` from dead_letters where n = $1`}

// DeadLetter reads one letter; see store.DeadLetters.
func (s *Store) DeadLetter(ctx context.Context, n uint64) (store.DeadLetter, error) {
	letters, err := s.letters(ctx, readLetter, false, numberParam(n))
	switch {
	case err != nil:
		return store.DeadLetter{}, failure("read a dead letter", err)
	case len(letters) == 0:
		return store.DeadLetter{}, fmt.Errorf("%w: number %d", store.ErrNoDeadLetter, n)
	}
	return letters[0], nil
}

// listLetters and listOpen are two statements because there is an index for what is open.
var (
	listLetters = &statement{"list_letters", shortLetter + `
  from dead_letters
 where n > $3 and ($5 = '' or origin = $5) and ($6 = '' or resolution = $6)
 order by n
 limit $4::bigint`}
	listOpen = &statement{"list_open_letters", shortLetter + `
  from dead_letters
 where n > $3 and ($5 = '' or origin = $5) and resolution = ''
 order by n
 limit $4::bigint`}
)

var (
	headSizeParam  = intParam(record.Head)
	causeSizeParam = intParam(store.MaxListedCause)
)

// DeadLetters lists letters; see store.DeadLetters.
func (s *Store) DeadLetters(ctx context.Context, query store.DeadQuery) ([]store.DeadLetter, error) {
	list := listLetters
	params := [][]byte{causeSizeParam, headSizeParam, numberParam(query.After), limitParam(query.Limit), []byte(query.Origin)}
	if query.Resolution == store.Open {
		list = listOpen
	} else {
		params = append(params, []byte(query.Resolution))
	}
	letters, err := s.letters(ctx, list, true, params...)
	if err != nil {
		return nil, failure("list dead letters", err)
	}
	return letters, nil
}

var decideLetter = &statement{"decide_letter", `
update dead_letters set resolution = $2, decided_at = $3, decided_by = $4, why = $5, retried_as = $6
 where n = $1 and resolution = ''
returning n`}

// Decide notes what becomes of a letter; see store.DeadLetters.
func (s *Store) Decide(ctx context.Context, n uint64, d store.Decision) (store.DeadLetter, error) {
	if err := d.Validate(); err != nil {
		return store.DeadLetter{}, fmt.Errorf("postgres: %w", err)
	}
	var retriedAs []byte
	if d.RetriedAs != commands.None {
		retriedAs = d.RetriedAs[:]
	}
	first := false
	err := s.reads.query(ctx, decideLetter, func(row) error {
		first = true
		return nil
	}, numberParam(n), []byte(d.Resolution), timeParam(d.At), []byte(d.By), []byte(d.Why), retriedAs)
	if err != nil {
		return store.DeadLetter{}, commitFailure(err, first)
	}
	letter, err := s.DeadLetter(ctx, n)
	if err == nil && !first {
		err = fmt.Errorf("%w: number %d was %s", store.ErrDecided, n, letter.Decision.Resolution)
	}
	return letter, err
}

// readUntold takes letters as long as those before come to less than $2 bytes.
var readUntold = &statement{"read_untold", wholeLetter + `
  from dead_letters
  join (select n, sum(size) over (order by n rows unbounded preceding) - size as before
          from (select n, octet_length(cause) + octet_length(body) as size
                  from dead_letters where not told order by n limit $1::bigint) first) counted using (n)
 where before < $2::bigint
 order by n`}

// Untold reads letters of which others have not been told; see store.DeadLetters.
func (s *Store) Untold(ctx context.Context, limit int) ([]store.DeadLetter, error) {
	letters, err := s.letters(ctx, readUntold, false, limitParam(limit), numberParam(store.MaxUntoldBytes))
	if err != nil {
		return nil, failure("read untold dead letters", err)
	}
	return letters, nil
}

var noteTold = &statement{"note_told", `update dead_letters set told = true where n = any ($1) and not told`}

// Told notes that others were told of letters; see store.DeadLetters.
func (s *Store) Told(ctx context.Context, ns []uint64) error {
	if len(ns) == 0 {
		return nil
	}
	if err := s.reads.query(ctx, noteTold, func(row) error { return nil }, numbersParam(ns)); err != nil {
		return failure("note what was told", err)
	}
	return nil
}

// letters reads rows of letters, of which the large columns may be cut short.
func (s *Store) letters(ctx context.Context, st *statement, short bool, params ...[]byte) ([]store.DeadLetter, error) {
	var letters []store.DeadLetter
	err := s.reads.query(ctx, st, func(r row) error {
		l := store.DeadLetter{N: r.uint64(0), At: r.time(1), Reason: commands.Reason(r.text(4)), Origin: store.Origin(r.text(5)),
			Told: r.bool(6), Cause: r.text(12)}
		if !r.null(8) {
			l.Decision = store.Decision{Resolution: store.Resolution(r.text(7)), At: r.time(8), By: r.text(9), Why: r.text(10),
				RetriedAs: r.id(11)}
		}
		e := &commands.Envelope{}
		e.ID, e.Stream = r.id(2), r.stream(3)
		if err := record.DecodeLetter(r.bytes(13), short, e, &l); err != nil {
			return fmt.Errorf("dead letter %d: %w", l.N, err)
		}
		letters = append(letters, l)
		return nil
	}, params...)
	return letters, err
}
