package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// answerTimeout is how long one member may take for anything. A member that is paused or cut off counts as one that
// gives no answer after that.
const answerTimeout = time.Second

// maxReply bounds what is read of one reply, in bytes.
const maxReply = 16 << 20

// Credentials are an ACL user and its password.
type Credentials struct{ User, Password string }

// client speaks RESP 2 with one Redis over one connection, which it opens when it is first needed. A full client
// library costs the agent 2 MB of resident memory and the daemon 8 MB of size, for the few commands used here.
type client struct {
	address string // host:port
	creds   Credentials
	conn    net.Conn
	reader  *bufio.Reader
}

func newClient(address string, creds Credentials) *client {
	return &client{address: address, creds: creds}
}

// Close ends the connection, if there is one.
func (c *client) Close() {
	if c.conn != nil {
		_ = c.conn.Close() // nothing of ours is buffered
		c.conn = nil
	}
}

// command is a command and its arguments.
type command []string

// do sends the commands in one go and returns the replies, integers as text. The first error that Redis replies with
// is the error, a replyError; after any other error the next call connects anew.
func (c *client) do(ctx context.Context, commands ...command) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if c.conn == nil {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.address)
		if err != nil {
			return nil, err
		}
		c.conn, c.reader = conn, bufio.NewReader(conn)
		if _, err := c.exchange(ctx, command{"AUTH", c.creds.User, c.creds.Password}); err != nil {
			c.Close()
			return nil, fmt.Errorf("authenticate as %q: %w", c.creds.User, err)
		}
	}
	replies, err := c.exchange(ctx, commands...)
	if reply := replyError(""); err != nil && !errors.As(err, &reply) {
		c.Close()
	}
	return replies, err
}

func (c *client) exchange(ctx context.Context, commands ...command) ([]string, error) {
	deadline, _ := ctx.Deadline()
	if err := c.conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	var request strings.Builder
	for _, words := range commands {
		fmt.Fprintf(&request, "*%d\r\n", len(words))
		for _, word := range words {
			fmt.Fprintf(&request, "$%d\r\n%s\r\n", len(word), word)
		}
	}
	if _, err := io.WriteString(c.conn, request.String()); err != nil {
		return nil, err
	}
	replies := make([]string, len(commands))
	var refused error
	for i := range commands {
		reply, err := readReply(c.reader)
		if refusal := replyError(""); errors.As(err, &refusal) {
			if refused == nil {
				refused = refusal
			}
		} else if err != nil {
			return nil, err
		}
		replies[i] = reply
	}
	return replies, refused
}

// replyError is an error that Redis replied with.
type replyError string

func (e replyError) Error() string { return string(e) }

// readReply reads one reply that is no array: a status, an integer, a bulk string or an error.
func readReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return "", fmt.Errorf("read reply: %w", err)
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return "", fmt.Errorf("reply %q is not RESP", line)
	}
	kind, text := line[0], string(line[1:len(line)-2])
	switch kind {
	case '+', ':':
		return text, nil
	case '-':
		return "", replyError(text)
	case '$':
		size, err := strconv.Atoi(text)
		if err != nil || size < 0 || size > maxReply {
			return "", fmt.Errorf("reply of size %q", text)
		}
		body, err := io.ReadAll(io.LimitReader(r, int64(size)+2))
		if err != nil {
			return "", fmt.Errorf("read reply of %d bytes: %w", size, err)
		}
		if len(body) != size+2 || string(body[size:]) != "\r\n" {
			return "", fmt.Errorf("reply of %d bytes ends early", size)
		}
		return string(body[:size]), nil
	default:
		return "", fmt.Errorf("reply of unexpected kind %q", kind)
	}
}
