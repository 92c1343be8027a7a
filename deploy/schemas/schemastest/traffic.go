package schemastest

import (
	"fmt"
	"slices"
)

// maxComplaints bounds what is remembered; where there are as many, all else can wait.
const maxComplaints = 50

// Meet remembers that something which the document tells of has passed.
func (d *Document) Meet(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.met[name] = true
}

// Unmet are those of the names that never passed.
func (d *Document) Unmet(names []string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(names, func(name string) bool { return d.met[name] })
}

// Complain remembers that something passed and was not as the document says.
func (d *Document) Complain(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.complaints) < maxComplaints {
		d.complaints = append(d.complaints, fmt.Sprintf(format, args...))
	}
}

// Complaints are what passed and was not as the document says, the first ones.
func (d *Document) Complaints() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.complaints)
}
