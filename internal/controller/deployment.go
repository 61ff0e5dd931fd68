package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"devctl/internal/api"
	"devctl/internal/discovery"
	"devctl/internal/plan"
)

// revisionOf names a deployment by what is in it: SHA-256 of its JSON, the first 12 hex digits.
func revisionOf(d api.Deployment) string {
	text, err := json.Marshal(d)
	if err != nil {
		panic("controller: a deployment is plain data: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:12]
}

// putDeployment makes a deployment what should run. Deployment and secrets change together or not at all.
func (c *controller) putDeployment(w http.ResponseWriter, r *http.Request) error {
	var req api.DeployRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	if err := c.checkDeployment(req); err != nil {
		return err
	}
	s, err := c.read(r.Context())
	if err != nil {
		return c.unavailable(r.Context(), err)
	}
	if obstacles := plan.Obstacles(req.Deployment, s.assignments); len(obstacles) > 0 {
		return &api.Error{Status: http.StatusConflict, Message: "the deployment is refused: " + strings.Join(obstacles, "; "),
			Hint: "Change the stack's file back, or destroy the stack and bring it up anew."}
	}
	changed, err := c.store(r.Context(), req)
	if err != nil {
		return c.unavailable(r.Context(), err)
	}
	revision := revisionOf(req.Deployment)
	if changed {
		c.log.Info("deployment stored", "revision", revision)
	}
	writeJSON(w, http.StatusOK, api.DeployResponse{Revision: revision, Changed: changed, Seq: s.told.Seq})
	return nil
}

func (c *controller) checkDeployment(req api.DeployRequest) error {
	bad := func(format string, args ...any) error {
		return &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
	}
	if req.Deployment.Stack != c.self.Stack {
		return bad("the deployment is of stack %q, and this is stack %q", req.Deployment.Stack, c.self.Stack)
	}
	if len(req.Deployment.Nodes) == 0 {
		return bad("the deployment has no nodes")
	}
	names := map[string]bool{}
	for _, n := range req.Deployment.Nodes {
		if names[n.Name] {
			return bad("the deployment names node %q twice", n.Name)
		}
		names[n.Name] = true
		if req.Deployment.Workers != nil && n.Role == api.RoleWorker {
			return bad("the deployment has elastic workers, and names %q", n.Name)
		}
	}
	if e := req.Deployment.Workers; e != nil {
		if _, err := netip.ParsePrefix(e.Network); err != nil {
			return bad("the network of elastic workers %q is none", e.Network)
		}
	}
	for name := range req.Secrets {
		if name == "" || strings.Contains(name, "/") {
			return bad("%q is no name of a secret", name)
		}
	}
	return nil
}

// storeAttempts is how often a deployment is tried that others change at the same time.
const storeAttempts = 5

// store writes what has changed of the deployment and the secrets, in one transaction.
func (c *controller) store(ctx context.Context, req api.DeployRequest) (changed bool, err error) {
	text, err := json.Marshal(req.Deployment)
	if err != nil {
		return false, fmt.Errorf("encode deployment: %w", err)
	}
	want := map[string]string{discovery.DeploymentKey: string(text)}
	for name, secret := range req.Secrets {
		want[discovery.SecretKey(name)] = secret
	}
	for range storeAttempts {
		done, changed, err := c.storeOnce(ctx, want)
		if done || err != nil {
			return changed, err
		}
	}
	return false, errors.New("store deployment: others change it all the time")
}

// storeOnce is done when nothing had to be written, or nobody else wrote since it looked.
func (c *controller) storeOnce(ctx context.Context, want map[string]string) (done, changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, etcdTimeout)
	defer cancel()
	keys := slices.Sorted(maps.Keys(want))
	var gets []clientv3.Op
	for _, key := range keys {
		gets = append(gets, clientv3.OpGet(key))
	}
	have, err := c.etcd.Txn(ctx).Then(gets...).Commit()
	if err != nil {
		return false, false, fmt.Errorf("read deployment: %w", err)
	}
	var unchanged []clientv3.Cmp
	var puts []clientv3.Op
	for i, key := range keys {
		revision := int64(0)
		if kvs := have.Responses[i].GetResponseRange().Kvs; len(kvs) > 0 {
			if string(kvs[0].Value) == want[key] {
				continue
			}
			revision = kvs[0].ModRevision
		}
		unchanged = append(unchanged, clientv3.Compare(clientv3.ModRevision(key), "=", revision))
		puts = append(puts, clientv3.OpPut(key, want[key]))
	}
	if len(puts) == 0 {
		return true, false, nil
	}
	resp, err := c.etcd.Txn(ctx).If(unchanged...).Then(puts...).Commit()
	if err != nil {
		return false, false, fmt.Errorf("store deployment: %w", err)
	}
	return resp.Succeeded, resp.Succeeded, nil
}
