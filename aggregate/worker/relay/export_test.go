package relay

// Kept is how many outcomes wait in memory.
func (r *Relay) Kept() int {
	r.events.mu.Lock()
	defer r.events.mu.Unlock()
	n := 0
	for i := range r.events.backlog.kept {
		n += len(r.events.backlog.kept[i].outcomes)
	}
	return n
}
