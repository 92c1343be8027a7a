package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// epollWire drives plain connections with epoll from one thread: a write and a read a request and a wait
// for a handful of them, where a goroutine a connection costs one more read and two switches. Measured
// against a server that answers at once: 11 µs of CPU a request instead of 13, of which 10 are the
// kernel's loopback.
type epollWire struct {
	base   *url.URL
	poll   int
	conns  []epollConn
	events []syscall.EpollEvent
	buf    []byte
	coarse bool // the kernel has no wait in nanoseconds
}

type epollConn struct {
	fd   int    // 0: not connected
	rest []byte // what the socket had no room for
}

var _ wire = (*epollWire)(nil)

func newWire(cfg *Config, base *url.URL, connections int) (wire, error) {
	if cfg.plain || base.Scheme != "http" {
		return newNetWire(base, connections), nil
	}
	poll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	runtime.LockOSThread()
	return &epollWire{
		base: base, poll: poll, conns: make([]epollConn, connections),
		events: make([]syscall.EpollEvent, 128), buf: make([]byte, 64<<10),
	}, nil
}

func (w *epollWire) dial(ctx context.Context, conn int) error {
	w.drop(conn)
	made, err := dialServer(ctx, w.base)
	if err != nil {
		return err
	}
	defer made.Close()
	fd, err := duplicate(made.(*net.TCPConn))
	if err != nil {
		return err
	}
	if err := w.watch(syscall.EPOLL_CTL_ADD, conn, fd, syscall.EPOLLIN); err != nil {
		return errors.Join(err, syscall.Close(fd))
	}
	w.conns[conn] = epollConn{fd: fd}
	return nil
}

// duplicate gives a descriptor of the connection that Go's own poller does not watch; it does not block.
func duplicate(from *net.TCPConn) (int, error) {
	raw, err := from.SyscallConn()
	if err != nil {
		return 0, err
	}
	var fd uintptr
	var errno syscall.Errno
	err = raw.Control(func(original uintptr) {
		fd, _, errno = syscall.RawSyscall(syscall.SYS_FCNTL, original, syscall.F_DUPFD_CLOEXEC, 3)
	})
	if err == nil && errno != 0 {
		err = fmt.Errorf("duplicating a descriptor: %w", errno)
	}
	return int(fd), err
}

func (w *epollWire) watch(op, conn, fd int, what uint32) error {
	return syscall.EpollCtl(w.poll, op, fd, &syscall.EpollEvent{Events: what, Fd: int32(conn)})
}

func (w *epollWire) drop(conn int) {
	if c := &w.conns[conn]; c.fd != 0 {
		_ = syscall.Close(c.fd) // which ends the watching too
		*c = epollConn{}
	}
}

func (w *epollWire) send(conn int, b []byte) {
	c := &w.conns[conn]
	if c.fd == 0 {
		return
	}
	if len(c.rest) > 0 {
		c.rest = append(c.rest, b...)
		return
	}
	n, err := transfer(syscall.SYS_WRITE, c.fd, b)
	if err != nil && !errors.Is(err, syscall.EAGAIN) {
		return // reading tells
	}
	if n < len(b) {
		c.rest = append(c.rest, b[n:]...)
		_ = w.watch(syscall.EPOLL_CTL_MOD, conn, c.fd, syscall.EPOLLIN|syscall.EPOLLOUT)
	}
}

func (w *epollWire) wait(until time.Time, got func(int, []byte, error)) error {
	n, err := w.sleep(time.Until(until))
	if err != nil {
		if errors.Is(err, syscall.EINTR) {
			return nil
		}
		return fmt.Errorf("epoll: %w", err)
	}
	for i := range n {
		conn, what := int(w.events[i].Fd), w.events[i].Events
		c := &w.conns[conn]
		if what&syscall.EPOLLOUT != 0 && c.fd != 0 {
			rest := c.rest
			c.rest = nil
			_ = w.watch(syscall.EPOLL_CTL_MOD, conn, c.fd, syscall.EPOLLIN)
			w.send(conn, rest)
		}
		if what&^syscall.EPOLLOUT == 0 || c.fd == 0 {
			continue
		}
		n, err := transfer(syscall.SYS_READ, c.fd, w.buf)
		switch {
		case errors.Is(err, syscall.EAGAIN):
		case err != nil:
			w.drop(conn)
			got(conn, nil, err)
		case n == 0:
			w.drop(conn)
			got(conn, nil, io.EOF)
		default:
			got(conn, w.buf[:n], nil)
		}
	}
	return nil
}

// sysEpollPwait2 has this number on every architecture but alpha; it waits in nanoseconds, where the
// older call rounds to milliseconds, which is 40 commands at 40,000 a second.
const sysEpollPwait2 = 441

func (w *epollWire) sleep(d time.Duration) (int, error) {
	d = max(d, 0)
	if !w.coarse {
		at := syscall.NsecToTimespec(int64(d))
		n, _, errno := syscall.Syscall6(sysEpollPwait2, uintptr(w.poll), uintptr(unsafe.Pointer(&w.events[0])),
			uintptr(len(w.events)), uintptr(unsafe.Pointer(&at)), 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.ENOSYS:
			w.coarse = true
		default:
			return 0, errno
		}
	}
	return syscall.EpollWait(w.poll, w.events, int((d+time.Millisecond-1)/time.Millisecond))
}

// transfer reads or writes without telling the scheduler, since neither can block here.
func transfer(call uintptr, fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func (w *epollWire) close() {
	for conn := range w.conns {
		w.drop(conn)
	}
	_ = syscall.Close(w.poll)
	runtime.UnlockOSThread()
}
