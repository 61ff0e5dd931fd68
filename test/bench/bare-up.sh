#!/usr/bin/env bash
# The bare work of `devctl up`, and nothing else: start as many containers, wait for systemd in them, start as many Redis
# containers, and let redis-cli make a cluster of them. No Ignition, no certificates, no etcd, no load balancer, no state.
# It is what `make bench` compares `devctl up` with.
#
# usage: bare-up.sh up IMAGE ARTIFACTS-VOLUME REDIS-IMAGE SUBNET-PREFIX MAINS WORKERS DATA SHARDS | bare-up.sh down
#
# Every shard has a primary and a replica; there are as many shards as data nodes, or half as many.
set -euo pipefail

stack=devctl-bare
if [ "$1" = down ]; then
	docker ps --all --quiet --filter "label=$stack" | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
	docker network rm "$stack" >/dev/null 2>&1 || true
	exit 0
fi
image=$2 artifacts=$3 redis=$4 prefix=$5 mains=$6 workers=$7 data=$8 shards=$9

docker network create --label "$stack" --subnet "$prefix.0/24" "$stack" >/dev/null

drop=()
for cap in $(sed -n 's/^CapBnd:\s*//p' /proc/self/status); do
	# CAP_SYS_RESOURCE is bit 24: it cannot be added where the machine does not have it.
	(((16#$cap >> 24) & 1)) || drop=(--cap-drop SYS_RESOURCE)
done
start() {
	docker run --detach --tty --label "$stack" --name "$stack-$1" --hostname "$1" --network "$stack" --ip "$prefix.$2" \
		--cap-add ALL "${drop[@]}" --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
		--security-opt systempaths=unconfined --cgroupns private --tmpfs /run --tmpfs /tmp \
		--volume /var/lib/containers --volume "$artifacts:/usr/lib/devctl:ro" --env container=docker \
		--entrypoint /lib/systemd/systemd "$image" >/dev/null
	docker exec "$stack-$1" systemctl is-system-running --wait >/dev/null || true
}
pids=()
for ((i = 1; i <= mains; i++)); do start "main-$i" "$((10 + i))" & pids+=($!); done
for ((i = 1; i <= workers; i++)); do start "worker-$i" "$((20 + i))" & pids+=($!); done
for ((i = 1; i <= data; i++)); do start "data-$i" "$((100 + i))" & pids+=($!); done
wait "${pids[@]}"

cgroups=disabled
[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] && cgroups=split
pids=() members=()
for ((k = 0; k < 2 * shards; k++)); do
	i=$((k % data + 1)) port=$((7101 + (k + k / data) % shards))
	docker exec "$stack-data-$i" podman run --detach --rm --name "redis-$port" --pull never --network host --log-driver none \
		--cgroups "$cgroups" --ulimit host --tmpfs /data --workdir /data --entrypoint redis-server "$redis" \
		--port "$port" --bind "$prefix.$((100 + i))" 127.0.0.1 --protected-mode no --cluster-enabled yes \
		--appendonly yes --repl-diskless-sync-delay 0 >/dev/null &
	pids+=($!)
	members+=("$prefix.$((100 + i)):$port")
done
wait "${pids[@]}"
for member in "${members[@]}"; do
	until redis-cli -h "${member%:*}" -p "${member#*:}" ping >/dev/null 2>&1; do sleep 0.02; done
done
redis-cli --cluster create "${members[@]}" --cluster-replicas 1 --cluster-yes >/dev/null
