package rabbitmq

import "time"

// Metrics are told what happens on the bus. Its methods are called from many goroutines at once, once a
// message at most, and must not block.
type Metrics interface {
	// Announced: so many notices of one batch were confirmed, after that time.
	Announced(notices int, took time.Duration)
	// PassedOver: so many notices were not published, because a queue refused them for too long or because
	// they cannot be sent.
	PassedOver(notices int)
}

// NoMetrics is told and tells nobody. To embed it is to be told of some things only.
type NoMetrics struct{}

var _ Metrics = NoMetrics{}

// Announced is Metrics'.
func (NoMetrics) Announced(int, time.Duration) {}

// PassedOver is Metrics'.
func (NoMetrics) PassedOver(int) {}
