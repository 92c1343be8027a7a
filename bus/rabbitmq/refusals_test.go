package rabbitmq

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatIsPassedOverIsLoggedNowAndThen(t *testing.T) {
	t.Parallel()
	r := newRefusals()
	now := time.Now()
	require.Equal(t, 3, r.tell(3, now), "the first at once")
	require.Zero(t, r.tell(5, now.Add(time.Second)))
	require.Zero(t, r.tell(1, now.Add(tellEvery-1)))
	require.Equal(t, 8, r.tell(2, now.Add(tellEvery)), "with those in between")
	require.Zero(t, r.tell(1, now.Add(tellEvery+1)))
}
