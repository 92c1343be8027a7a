package deploy

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// commandsRoute is where commands are posted.
const commandsRoute = "POST /v1/commands"

// requestMetrics counts answers by route and status. Each pair's counter is looked up once.
type requestMetrics struct {
	requests *prometheus.CounterVec
	accepted prometheus.Histogram // time to a 202 of commandsRoute
	routes   sync.Map             // pattern -> *routeMetrics; patterns are the router's, so there are few
}

type routeMetrics struct {
	route    string
	byStatus [600]atomic.Pointer[prometheus.Counter]
}

func (m *requestMetrics) answered(pattern string, status int, took time.Duration) {
	if status == http.StatusAccepted && pattern == commandsRoute {
		m.accepted.Observe(took.Seconds())
	}
	known, ok := m.routes.Load(pattern)
	if !ok {
		known, _ = m.routes.LoadOrStore(pattern, &routeMetrics{route: pattern})
	}
	known.(*routeMetrics).count(m.requests, status)
}

func (r *routeMetrics) count(requests *prometheus.CounterVec, status int) {
	if status >= len(r.byStatus) {
		status = http.StatusInternalServerError
	}
	c := r.byStatus[status].Load()
	if c == nil {
		made := requests.WithLabelValues(r.route, strconv.Itoa(status))
		c = &made
		r.byStatus[status].Store(c)
	}
	(*c).Inc()
}
