"""The three roles, as groups: viewer, operator, administrator."""

from django.apps.registry import Apps
from django.contrib.auth.management import create_permissions
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

APPS_OF_ADMINISTRATORS = ("auth", "axes")


def make_groups(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make or complete the groups."""
    from django.apps import apps as installed

    # Permissions are otherwise made after the last migration, too late for this one.
    for label in ("trades", *APPS_OF_ADMINISTRATORS):
        create_permissions(installed.get_app_config(label), verbosity=0, using=schema_editor.connection.alias)
    Group, Permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    view = Permission.objects.filter(content_type__app_label="trades", codename__startswith="view_")
    act = Permission.objects.filter(content_type__app_label="trades", codename__in=["publish", "settle"])
    people = Permission.objects.filter(content_type__app_label__in=APPS_OF_ADMINISTRATORS)
    for name, granted in (("viewer", [view]), ("operator", [view, act]), ("administrator", [view, act, people])):
        group, _ = Group.objects.get_or_create(name=name)
        for permissions in granted:
            group.permissions.add(*permissions)


class Migration(migrations.Migration):
    dependencies = [
        ("trades", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("axes", "0001_initial"),
    ]
    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
