package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/commands"
)

func TestNamesAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := commands.Stream{
			Tenant: rapid.StringMatching(`([a-z/.]{0,20})`).Draw(t, "tenant"),
			Type:   rapid.StringMatching(`[a-z][a-z0-9_-]{0,20}`).Draw(t, "type"),
			ID:     rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._:-]{0,20}`).Draw(t, "id"),
		}
		require.Equal(t, want, parseName(string(appendName(nil, want))))
	})
	require.Equal(t, "order/42", string(appendName(nil, commands.Stream{Type: "order", ID: "42"})))
	require.Equal(t, "acme/order/42", string(appendName(nil, commands.Stream{Tenant: "acme", Type: "order", ID: "42"})))
}

// Postgres reads what columns write, and rows read what Postgres writes.
func TestTheServerReadsAndWritesTheSameValues(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	config, err := Config{URL: postgrestest.URL(), Schema: "public"}.withDefaults().pool(1)
	require.NoError(t, err)
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		postgrestest.Connect(t) // says what is missing
	}
	defer func() { _ = conn.Close(ctx) }()
	at := time.Date(1999, 12, 31, 23, 59, 59, 123456000, time.UTC)
	id := commands.NewID()
	var ints, longs, bools, ids, times, texts, bytes column
	ints.start(pgtype.Int4OID, 2)
	longs.start(pgtype.Int8OID, 2)
	bools.start(pgtype.BoolOID, 2)
	ids.start(pgtype.UUIDOID, 2)
	times.start(pgtype.TimestamptzOID, 2)
	texts.start(pgtype.TextOID, 2)
	bytes.start(pgtype.ByteaOID, 3)
	ints.int32(-7)
	ints.null()
	longs.int64(-1 << 40)
	longs.null()
	bools.bool(true)
	bools.bool(false)
	ids.id(id)
	ids.null()
	times.time(at)
	times.null()
	texts.text("Zoë")
	texts.name(commands.Stream{Type: "order", ID: "42"})
	bytes.bytes([]byte{0, 255})
	bytes.null()
	bytes.bytes(nil)

	result := conn.PgConn().ExecParams(ctx, `
select ($1::int[])[1], ($1::int[])[2], ($2::bigint[])[1], ($3::bool[])[1], ($3::bool[])[2], ($4::uuid[])[1],
       ($5::timestamptz[])[1], ($6::text[])[1], ($6::text[])[2], $7::bytea[], $8::int[], null::bytea[]
 where $1 = '{-7,null}' and $2 = '{-1099511627776,null}' and $3 = '{t,f}' and $5 = '{1999-12-31 23:59:59.123456+00,null}'
   and $6 = '{Zoë,order/42}' and $7 = array['\x00ff'::bytea, null, ''] and $8 = '{}'`,
		[][]byte{ints.b, longs.b, bools.b, ids.b, times.b, texts.b, bytes.b, lanesParam(nil)}, nil, binaryFormat, binaryFormat)
	require.True(t, result.NextRow(), "the server reads what was meant")
	r := row(result.Values())
	require.Equal(t, -7, r.int(0))
	require.True(t, r.null(1))
	require.Zero(t, r.int(1))
	require.EqualValues(t, -1<<40, r.int64(2))
	require.True(t, r.bool(3))
	require.False(t, r.bool(4))
	require.Equal(t, id, r.id(5))
	require.Equal(t, at, r.time(6))
	require.Equal(t, "Zoë", r.text(7))
	require.Equal(t, commands.Stream{Type: "order", ID: "42"}, r.stream(8))
	list := r.list(9)
	require.Len(t, list, 3)
	require.Equal(t, []byte{0, 255}, list.bytes(0))
	require.Nil(t, list.bytes(1))
	require.Equal(t, []byte{}, list.bytes(2))
	require.Empty(t, r.list(10))
	require.Empty(t, r.list(11))
	_, err = result.Close()
	require.NoError(t, err)
}
