"""The whole portal on one machine: what `manage.py run_portal` is made of."""
