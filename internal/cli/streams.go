package cli

import (
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"devctl/internal/cli/output"
	"devctl/internal/cli/progress"
	"devctl/internal/localcloud"
)

// Streams are a command's input and outputs, and what is known about them.
type Streams struct {
	In  io.Reader
	Out io.Writer // data
	Err io.Writer // everything else

	InTerminal, OutTerminal, ErrTerminal bool

	Size func() (width, height int) // of the terminal; zeros if there is none
	// Hidden reads a line from the terminal without showing what is typed. Restore shows it again, also when the reading was
	// given up.
	Hidden func() (read func() (string, error), restore func(), err error)
	// Raw hands the terminal to a program on a node, keys and size, until restore is called.
	Raw func() (sizes <-chan localcloud.Size, restore func(), err error)
}

// standardStreams returns the streams over a process's files.
func standardStreams(in, out, err *os.File) Streams {
	terminal := func(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
	return Streams{
		In: in, Out: out, Err: err,
		InTerminal: terminal(in), OutTerminal: terminal(out), ErrTerminal: terminal(err),
		Size: func() (int, int) {
			for _, f := range []*os.File{err, out, in} {
				if width, height, e := term.GetSize(int(f.Fd())); e == nil {
					return width, height
				}
			}
			return 0, 0
		},
		Hidden: func() (func() (string, error), func(), error) {
			state, e := term.GetState(int(in.Fd()))
			if e != nil {
				return nil, nil, e
			}
			read := func() (string, error) {
				line, e := term.ReadPassword(int(in.Fd()))
				return string(line), e
			}
			return read, func() { _ = term.Restore(int(in.Fd()), state) }, nil
		},
		Raw: func() (<-chan localcloud.Size, func(), error) {
			state, e := term.MakeRaw(int(in.Fd()))
			if e != nil {
				return nil, nil, e
			}
			sizes, stop := followSize(in)
			return sizes, func() {
				stop()
				_ = term.Restore(int(in.Fd()), state)
			}, nil
		},
	}
}

// followSize brings the size of a terminal, now and whenever it changes, until stop is called.
func followSize(terminal *os.File) (sizes <-chan localcloud.Size, stop func()) {
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGWINCH)
	changes <- syscall.SIGWINCH // the size at the start
	all, done := make(chan localcloud.Size), make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-changes:
			}
			width, height, err := term.GetSize(int(terminal.Fd()))
			if err != nil || width <= 0 || height <= 0 {
				continue
			}
			select {
			case <-done:
				return
			case all <- localcloud.Size{Width: uint(width), Height: uint(height)}:
			}
		}
	}()
	return all, func() {
		signal.Stop(changes)
		close(done)
	}
}

// outStyle colours data for people who look at it on a terminal.
func (d *deps) outStyle() output.Style {
	return output.Style{On: d.streams.OutTerminal && d.colour()}
}

// errStyle colours messages.
func (d *deps) errStyle() output.Style {
	return output.Style{On: d.streams.ErrTerminal && d.colour()}
}

// colour looks at NO_COLOR itself too: errors in the command line come before flags are bound to the environment.
func (d *deps) colour() bool {
	return !d.global.noColor && d.getenv("NO_COLOR") == "" && d.getenv("TERM") != "dumb"
}

// display starts showing progress on stderr; the caller closes it.
func (d *deps) display() *progress.Display {
	d.shown = progress.New(d.streams.Err, progress.Options{
		Live:  d.streams.ErrTerminal && d.getenv("TERM") != "dumb",
		Size:  d.streams.Size,
		Style: d.errStyle(),
		Quiet: d.global.quiet,
		Now:   d.now,
	})
	return d.shown
}
