package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"devctl/internal/api"
	"devctl/internal/discovery"
)

const (
	// lookInterval is how often the agent looks at what runs when nothing moves.
	lookInterval = time.Second
	// hurryInterval is how often it looks while something is on its way: others wait for what comes of it.
	hurryInterval = 200 * time.Millisecond
)

// board is where the parts of the agent leave what they know about the node, for the next heartbeat and for
// each other.
type board struct {
	wake chan struct{} // something changed that others wait for

	mu       sync.Mutex
	owned    map[string]applied
	base     []api.UnitStatus // units that came with the machine
	deployed []api.UnitStatus // assigned units
	redis    []api.RedisInstance
	lb       *api.LoadBalancer
	holds    bool
	unheld   bool // the virtual IP could be here, and no node says that it has it
}

func newBoard(owned map[string]applied) *board {
	return &board{wake: make(chan struct{}, 1), owned: owned}
}

// change applies f, and asks for a heartbeat at once if f says so.
func (b *board) change(f func() (urgent bool)) {
	b.mu.Lock()
	urgent := f()
	b.mu.Unlock()
	if !urgent {
		return
	}
	select {
	case b.wake <- struct{}{}:
	default: // asked for already
	}
}

func (b *board) setUnits(owned map[string]applied, base, deployed []api.UnitStatus) {
	b.change(func() bool {
		changed := !slices.Equal(b.base, base) || !slices.Equal(b.deployed, deployed)
		b.owned, b.base, b.deployed = owned, base, deployed
		return changed
	})
}

func (b *board) setRedis(instances []api.RedisInstance) {
	b.change(func() bool {
		changed := !slices.EqualFunc(b.redis, instances, sameRole)
		b.redis = instances
		return changed
	})
}

// sameRole compares all of two instances but the offset, which moves with every write.
func sameRole(a, b api.RedisInstance) bool {
	a.Offset, b.Offset = 0, 0
	return a == b
}

func (b *board) setBalancer(lb *api.LoadBalancer) {
	b.change(func() bool {
		changed := (b.lb == nil) != (lb == nil) || lb != nil && *b.lb != *lb
		b.lb = lb
		return changed
	})
}

func (b *board) setHolds(holds bool) {
	b.change(func() bool {
		changed := b.holds != holds
		b.holds = holds
		return changed
	})
}

func (b *board) setUnheld(unheld bool) {
	b.change(func() bool {
		b.unheld = unheld
		return false
	})
}

// pace is the time until the next look at what runs.
func (b *board) pace() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	moves := slices.ContainsFunc(b.deployed, func(u api.UnitStatus) bool { return !u.Ready() && u.Active != "failed" }) ||
		slices.ContainsFunc(b.redis, func(r api.RedisInstance) bool {
			return r.State != "ok" || r.Role != "primary" && !r.LinkUp
		}) ||
		b.lb != nil && b.lb.Up < b.lb.Backends || b.unheld && !b.holds
	if moves {
		return hurryInterval
	}
	return lookInterval
}

// assigned returns the units of the node that were applied.
func (b *board) assigned() map[string]applied {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.owned
}

// record completes a node record with what is known now, and returns the part about assigned units.
func (b *board) record(r *api.NodeRecord) (deployed []api.UnitStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r.Units, r.Redis, r.LoadBalancer, r.HoldsEndpoint = slices.Concat(b.base, b.deployed), b.redis, b.lb, b.holds
	return b.deployed
}

// deniedBeats is how many beats in a row etcd has to refuse before the node joins again: some ten seconds.
const deniedBeats = 20

// beat keeps the node's record and those of its units in etcd. It ends with errDenied when etcd does not know the node any more.
func beat(ctx context.Context, cli *clientv3.Client, c Config, b *board) error {
	started := time.Now().UTC()
	ready := c.Ready
	denied := 0
	p := &discovery.Presence{
		Client: cli,
		Log:    c.Log,
		Wake:   b.wake,
		Keys: func(now time.Time) (map[string][]byte, error) {
			free, err := freeMemory()
			if err != nil {
				return nil, err
			}
			return encode(b, api.NodeRecord{
				Identity: c.Identity, ID: c.ID, Version: c.Version, Config: c.Ignition,
				Started: started, LastHeartbeat: now.UTC(), FreeMemory: free,
			})
		},
		Beaten: func() {
			denied = 0
			if ready != nil {
				ready()
				ready = nil
			}
		},
		Denied: func() error {
			denied++
			if denied < deniedBeats || c.Identity.Role == api.RoleMain { // its controller makes it known
				return nil
			}
			return errDenied
		},
	}
	return p.Run(ctx)
}

// encode returns what has to be in etcd: the node's record, and one key for each assigned unit.
func encode(b *board, r api.NodeRecord) (map[string][]byte, error) {
	deployed := b.record(&r)
	keys := make(map[string][]byte, 1+len(deployed))
	put := func(key string, value any) error {
		text, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("encode %s: %w", key, err)
		}
		keys[key] = text
		return nil
	}
	for _, u := range deployed {
		if err := put(discovery.ObservedKey(r.Name, u.Name), u); err != nil {
			return nil, err
		}
	}
	return keys, put(discovery.NodeKey(r.Name), r)
}

// freeMemory is how much memory, in bytes, programs could still get.
func freeMemory() (uint64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("read free memory: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read free memory: %w", err)
			}
			return kib * 1024, nil
		}
	}
	return 0, fmt.Errorf("read free memory: /proc/meminfo has no MemAvailable")
}
