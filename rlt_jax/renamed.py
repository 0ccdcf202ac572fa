"""Old names of settings, so that old files and habits get a helpful answer."""

from collections.abc import Mapping

# Old field -> new field, in whichever config the new one is now.
RENAMED: Mapping[str, str] = {
  'robots': 'num_envs',
  'robot_steps': 'num_env_steps',
  'chunk': 'chunk_size',
  'stride': 'replay_stride',
  'delay': 'inference_delay',
  'updates_per_row': 'utd_ratio',
  'first_update_rows': 'learning_starts',
  'capacity': 'replay_capacity',
  'warmup_steps': 'vla_warmup_steps',
  'base_horizon': 'open_loop_steps',
  'sigma': 'exploration_std',
  'noise': 'exploration_noise',
  'idle_entries': 'frozen_action_dims',
  'correction': 'intervention_reference',
  'z_source': 'token_ablation',
  'cycles': 'cycles_per_dispatch',
  'critic_steps': 'critic_updates_per_actor',
  'target_rate': 'tau',
  'batch': 'batch_size',
  'hidden': 'hidden_dims',
  'film_pairs': 'num_eval_videos',
  'eval_minutes': 'eval_at_minutes',
  'eval_episodes': 'num_eval_episodes',
  'final_episodes': 'num_final_episodes',
  'base_episodes': 'num_base_episodes',
  'update': 'agent',
  'critical_at_once': 'start_in_critical_phase',
  'max_same_picture_s': 'frozen_camera_timeout_s',
}
