package hub

// Kept counts what is remembered of connections.
func (h *Hub) Kept() (topics, sessions, beats int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, slot := range h.beats {
		beats += len(slot)
	}
	return len(h.topics), len(h.sessions), beats
}

// Held is what connections that are being opened hold of states, in bytes.
func (h *Hub) Held() int64 { return h.held.Load() }
