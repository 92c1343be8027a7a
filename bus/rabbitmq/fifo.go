package rabbitmq

// fifo is a queue in one slice, which moves to the front again when half of it has been taken.
type fifo[T any] struct {
	list []T
	head int
}

func (f *fifo[T]) len() int   { return len(f.list) - f.head }
func (f *fifo[T]) at(i int) T { return f.list[f.head+i] }
func (f *fifo[T]) push(x T)   { f.list = append(f.list, x) }

func (f *fifo[T]) pop() T {
	var none T
	x := f.list[f.head]
	f.list[f.head] = none
	if f.head++; f.head*2 >= len(f.list) {
		kept := copy(f.list, f.list[f.head:])
		clear(f.list[kept:])
		f.list, f.head = f.list[:kept], 0
	}
	return x
}
