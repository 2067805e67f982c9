"""What a lowered graph says in many operations and the engine has in one."""
